import { beforeEach, expect, test } from 'vitest'
import type { Backend, TaskContext } from '../../src/backends/backend.ts'
import type { Task, TaskRequest } from '../../src/protocol/messages.ts'
import { CHUNK_DONE, CHUNK_FREE } from '../../src/protocol/chunk.ts'
import type { StagePass } from '../../src/protocol/stage-pass.ts'
import type { RowStageTask } from '../../src/protocol/stage.ts'
import { LaneHost } from '../../src/scheduler/lane-host.ts'
import { turns } from '../support/runtimes.ts'

/** Tells what each task saw under the array that it names, when `gate` lets it go on. */
const seen: (number | undefined)[] = []
let gate: Promise<void> = Promise.resolve()

const fakeBackend = {
  kind: 'wasm',
  residentBytes: () => 0,
  attention: async (task: { readonly reads: number }, context: TaskContext) => {
    await gate
    seen.push(context.array(task.reads)[0])
    return { elapsedMs: 0, tiles: 0, skippedTiles: 0 }
  },
  rows: async (task: RowStageTask) => {
    await gate
    seen.push(-task.rowStart)
    return { stored: [], elapsedMs: 0 }
  },
  dispose: () => undefined,
}

/** A pass of one-row chunks, and the request that brings it. */
function passRequest(jobId: number, rows: number): TaskRequest & { readonly claims: Int32Array } {
  const claims = new Int32Array(new SharedArrayBuffer(rows * 4))
  const stage = { sequence: rows, registers: [], registerBytes: 0, residentLimitBytes: 0, attention: null, steps: [] }
  const pass: StagePass = {
    kind: 'pass',
    stages: [{ kind: 'rows', stage, batch: 1, rows, chunkRows: 1, lastFirst: false }],
    claims,
    share: 1,
  }
  return { jobId, attach: [], release: [], tasks: [pass], claims }
}

function request(
  jobId: number,
  reads: number,
  attach: Readonly<Record<number, number>>,
  release: readonly number[] = [],
): TaskRequest {
  const attached = Object.entries(attach).map(([id, value]) => ({ id: Number(id), array: Float32Array.of(value) }))
  return { jobId, attach: attached, release, tasks: [{ kind: 'attention', reads } as unknown as Task] }
}

let host: LaneHost
beforeEach(async () => {
  seen.length = 0
  gate = Promise.resolve()
  host = new LaneHost(() => Promise.resolve({ kernels: 'fake', backend: fakeBackend as unknown as Backend }))
  await host.start({ kind: 'wasm', numerics: 'fast', wasm: null })
})

test('arrays come and go in the order of the requests: one that was let go and sent again is there', async () => {
  let open = (): void => undefined
  gate = new Promise((resolve) => (open = resolve))
  const runs = [
    host.run(request(1, 1, { 1: 10 })),
    host.run(request(2, 2, { 2: 20 }, [1])),
    host.run(request(3, 1, { 1: 11 })),
  ]
  open()
  await Promise.all(runs)
  expect(seen).toEqual([10, 20, 11])
})

test('a request that was cancelled still brings its arrays and lets go of others', async () => {
  const first = host.run(request(1, 1, { 1: 10 }))
  const cancelled = host.run(request(2, 2, { 2: 20 }, [1]))
  host.cancel(2)
  await first
  await expect(cancelled).rejects.toThrow()
  await host.run(request(3, 2, {}))
  expect(seen).toEqual([10, 20])
  await expect(host.run(request(4, 1, {}))).rejects.toMatchObject({ code: 'ProtocolError' })
})

test('the tasks of other calls come in between the chunks of a pass', async () => {
  const pass = host.run(passRequest(1, 4))
  const other = host.run(request(2, 1, { 1: 10 }))
  expect((await pass).results).toEqual([{ tasks: 4, elapsedMs: 0, partMs: [0] }])
  await other
  expect(seen.indexOf(10)).toBeLessThan(3)
  expect(seen.filter((value) => value !== 10)).toEqual([-0, -1, -2, -3])
})

test('a chunk that waits behind the task of another call is free for other lanes', async () => {
  let open = (): void => undefined
  gate = new Promise((resolve) => (open = resolve))
  const other = host.run(request(2, 1, { 1: 10 }))
  const waiting = passRequest(1, 2)
  const pass = host.run(waiting)
  await turns(5)
  expect([...waiting.claims]).toEqual([CHUNK_FREE, CHUNK_FREE])
  open()
  await Promise.all([other, pass])
  expect([...waiting.claims]).toEqual([CHUNK_DONE, CHUNK_DONE])
})

test('a pass that waits for another lane ends when it is cancelled, and the lane works on', async () => {
  const waiting = passRequest(1, 2)
  waiting.claims[0] = 2
  const pass = host.run(waiting)
  host.cancel(1)
  await expect(pass).rejects.toMatchObject({ name: 'TaskCancelled' })
  await host.run(request(2, 1, { 1: 10 }))
  expect(seen.at(-1)).toBe(10)
})

test('a task beside another ends while that one waits, and each sees its own arrays', async () => {
  let open = (): void => undefined
  gate = new Promise((resolve) => (open = resolve))
  const long = host.run(request(1, 1, { 1: 10 }))
  await Promise.resolve()
  gate = Promise.resolve()
  const short = host.run({ ...request(2, 1, { 1: 11 }, [1]), beside: true })
  expect(await short).toMatchObject({ besideBytes: 0 })
  expect(seen).toEqual([11])
  open()
  await long
  expect(seen).toEqual([11, 10])
})

test('a job id that was cancelled is free again when its tasks have ended', async () => {
  const cancelled = host.run(request(1, 1, { 1: 10 }))
  host.cancel(1)
  await expect(cancelled).rejects.toMatchObject({ name: 'TaskCancelled' })
  host.cancel(1)
  await host.run(request(1, 1, {}))
  expect(seen).toEqual([10])
})

test('a task that is cancelled while it waits in line fails at once, and never runs', async () => {
  let open = (): void => undefined
  gate = new Promise((resolve) => (open = resolve))
  const long = host.run(request(1, 1, { 1: 10 }))
  const waiting = host.run(request(2, 1, {}))
  const pass = host.run(passRequest(3, 2))
  host.cancel(2)
  host.cancel(3)
  await expect(waiting).rejects.toMatchObject({ name: 'TaskCancelled' })
  await expect(pass).rejects.toMatchObject({ name: 'TaskCancelled' })
  expect(seen).toEqual([])
  open()
  await long
  await host.run(request(2, 1, {}))
  expect(seen).toEqual([10, 10])
})
