import { beforeEach, expect, test, vi } from 'vitest'
import type { TaskContext } from '../../src/backends/backend.ts'
import type { Task, TaskRequest } from '../../src/protocol/messages.ts'
import { LaneHost } from '../../src/scheduler/lane-host.ts'

/** Tells what each task saw under the array that it names, when `gate` lets it go on. */
const seen: (number | undefined)[] = []
let gate: Promise<void> = Promise.resolve()

vi.mock('../../src/scheduler/create-backend.ts', () => ({
  createBackend: () => Promise.resolve({ kernels: 'fake', backend: fakeBackend }),
}))

const fakeBackend = {
  kind: 'wasm',
  residentBytes: () => 0,
  attention: async (task: { readonly reads: number }, context: TaskContext) => {
    await gate
    seen.push(context.array(task.reads)[0])
    return { elapsedMs: 0, tiles: 0, skippedTiles: 0 }
  },
  dispose: () => undefined,
}

function request(jobId: number, reads: number, attach: Readonly<Record<number, number>>, release: readonly number[] = []): TaskRequest {
  const attached = Object.entries(attach).map(([id, value]) => ({ id: Number(id), array: Float32Array.of(value) }))
  return { jobId, attach: attached, release, tasks: [{ kind: 'attention', reads } as unknown as Task] }
}

let host: LaneHost
beforeEach(async () => {
  seen.length = 0
  gate = Promise.resolve()
  host = new LaneHost()
  await host.start({ kind: 'wasm', numerics: 'fast', wasm: null })
})

test('arrays come and go in the order of the requests: one that was let go and sent again is there', async () => {
  let open = (): void => undefined
  gate = new Promise((resolve) => (open = resolve))
  const runs = [host.run(request(1, 1, { 1: 10 })), host.run(request(2, 2, { 2: 20 }, [1])), host.run(request(3, 1, { 1: 11 }))]
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
