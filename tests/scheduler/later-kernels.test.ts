import { describe, expect, it } from 'vitest'
import { BackendUnavailableError } from '../../src/core/errors.ts'
import type { Kernels, LaneKind, LaterKernels, Task } from '../../src/protocol/messages.ts'
import { Pool } from '../../src/scheduler/pool.ts'
import { FakeLane } from './fake-lane.ts'
import { makeJob, settle } from './fake-pool.ts'

const KERNELS = new Uint8Array([1, 2, 3])

async function openPool(kinds: readonly LaneKind[], load: (name: LaterKernels) => Promise<Kernels>) {
  const lanes: FakeLane[] = []
  const pool = new Pool({
    lanes: kinds.map((kind) => ({ kind, numerics: 'fast', wasm: null })),
    makeLane: () => {
      const lane = new FakeLane()
      lanes.push(lane)
      return lane
    },
    heartbeat: () => () => undefined,
    laterKernels: load,
  })
  await pool.open()
  return { pool, lanes }
}

/** A job of so many tasks like this one. */
function jobOf(task: object, count = 1) {
  const tasks = makeJob(new Array<number>(count).fill(1)).tasks.map((each) => ({
    ...each,
    tasks: [task as unknown as Task],
  }))
  return makeJob([], { tasks })
}

const stageJob = (count: number) => jobOf({ kind: 'stage' }, count)

/** Runs a job and ends each of its tasks. @returns the last request of every lane that is alive */
async function runToEnd(pool: Pool, lanes: readonly FakeLane[], job: ReturnType<typeof makeJob>) {
  const run = pool.run(job)
  await settle()
  while (lanes.some(({ running }) => running > 0)) {
    for (const lane of lanes) if (lane.running > 0) lane.finish()
    await settle()
  }
  await run
  return lanes.filter(({ alive }) => alive).map(({ requests }) => requests.at(-1))
}

describe('kernels that lanes get with tasks', () => {
  it('are not loaded for attention', async () => {
    let loads = 0
    const { pool, lanes } = await openPool(['wasm'], () => Promise.resolve((loads++, KERNELS)))
    const [request] = await runToEnd(pool, lanes, makeJob([1]))
    expect(request).not.toHaveProperty('kernels')
    expect(loads).toBe(0)
    await pool.close()
  })

  it('go to each wasm lane with its first task of stages, and to no GPU lane, whose file has its own', async () => {
    let loads = 0
    const { pool, lanes } = await openPool(['wasm', 'wasm', 'webgpu'], () => Promise.resolve((loads++, KERNELS)))
    const first = await runToEnd(pool, lanes, stageJob(3))
    expect(first.map((request) => request?.kernels)).toEqual([{ rows: KERNELS }, { rows: KERNELS }, undefined])
    const second = await runToEnd(pool, lanes, stageJob(3))
    expect(second.map((request) => request?.kernels)).toEqual([undefined, undefined, undefined])
    expect(loads).toBe(1)
    await pool.close()
  })

  it.each([
    [{ kind: 'attention-heads' }, undefined],
    [{ kind: 'attention-backward' }, ['gradients']],
    [{ kind: 'attention-bias' }, ['gradients']],
    [{ kind: 'attention-transposed' }, ['gradients']],
    [{ kind: 'pass', stages: [{ kind: 'rows' }] }, ['rows']],
    [{ kind: 'pass', stages: [{ kind: 'slabs' }, { kind: 'attention-backward' }] }, ['rows', 'gradients']],
  ])('are those that the task needs: %j', async (task, names) => {
    const { pool, lanes } = await openPool(['wasm'], () => Promise.resolve(KERNELS))
    const [request] = await runToEnd(pool, lanes, jobOf(task))
    expect(request?.kernels && Object.keys(request.kernels)).toEqual(names)
    await pool.close()
  })

  it('go to the successor of a lost lane', async () => {
    const { pool, lanes } = await openPool(['wasm'], () => Promise.resolve(KERNELS))
    await runToEnd(pool, lanes, stageJob(1))
    lanes[0]?.die()
    await settle()
    const [request] = await runToEnd(pool, lanes, stageJob(1))
    expect(lanes).toHaveLength(2)
    expect(request?.kernels).toEqual({ rows: KERNELS })
    await pool.close()
  })

  it('fail the call alone where they cannot be loaded, and are asked for again by the next', async () => {
    const reason = new BackendUnavailableError('kernels: not found')
    let isMissing = true
    const { pool, lanes } = await openPool(['wasm'], () =>
      isMissing ? Promise.reject(reason) : Promise.resolve(KERNELS),
    )
    await expect(pool.run(stageJob(1))).rejects.toBe(reason)
    expect(pool.isBusy).toBe(false)
    await runToEnd(pool, lanes, makeJob([1]))
    isMissing = false
    const [request] = await runToEnd(pool, lanes, stageJob(1))
    expect(request?.kernels).toEqual({ rows: KERNELS })
    await pool.close()
  })
})
