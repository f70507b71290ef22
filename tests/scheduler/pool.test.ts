import { describe, expect, it, vi } from 'vitest'
import { BackendUnavailableError, RuntimeClosedError, WorkerLostError } from '../../src/core/errors.ts'
import type { Task } from '../../src/protocol/messages.ts'
import type { JobTask } from '../../src/scheduler/job.ts'
import { FakeLane } from './fake-lane.ts'
import { makeJob, makePool, settle } from './fake-pool.ts'

describe('Pool', () => {
  it('hands tasks out longest first, one a lane', async () => {
    const { pool, lanes } = makePool(2)
    await pool.open()
    const job = makeJob([1, 5, 3])
    const run = pool.run(job)
    await settle()
    expect(lanes.map((lane) => lane.requests[0]?.attach[0]?.id)).toEqual([1, 2])
    lanes[1]?.finish()
    await settle()
    expect(lanes[1]?.requests[1]?.attach[0]?.id).toBe(0)
    lanes[0]?.finish()
    lanes[1]?.finish()
    const outcome = await run
    expect(outcome.lanes.map(({ tasks }) => tasks)).toEqual([1, 2])
    expect(job.done).toHaveLength(3)
    await pool.close()
  })

  it('keeps a second task waiting at a lane only while tasks are left for every lane', async () => {
    const { pool, lanes } = makePool(2)
    await pool.open()
    const run = pool.run(makeJob([1, 1, 1, 1, 1, 1], { depth: 2 }))
    await settle()
    expect(lanes.map((lane) => lane.running)).toEqual([2, 2])
    lanes[0]?.finish()
    await settle()
    expect(lanes.map((lane) => lane.running)).toEqual([2, 2])
    lanes[0]?.finish()
    await settle()
    expect(lanes.map((lane) => lane.running)).toEqual([1, 2]) // the last one is left for whoever is idle first
    for (let turn = 0; turn < 4; turn++) {
      for (const lane of lanes) lane.finish()
      await settle()
    }
    await run
    await pool.close()
  })

  it('gives the task of a dead lane to another and replaces the lane', async () => {
    const { pool, lanes } = makePool(2)
    await pool.open()
    const job = makeJob([2, 1])
    const run = pool.run(job)
    await settle()
    lanes[0]?.die()
    await settle()
    expect(lanes).toHaveLength(3)
    expect(lanes[2]?.requests[0]?.attach[0]?.id).toBe(0)
    lanes[1]?.finish()
    lanes[2]?.finish()
    expect((await run).retries).toBe(1)
    expect(job.done).toHaveLength(2)
    await pool.close()
  })

  it('sends the task of a dead lane again before those that have waited all the time', async () => {
    const { pool, lanes } = makePool(1)
    await pool.open()
    const run = pool.run(makeJob([3, 2, 1]))
    await settle()
    lanes[0]?.die()
    await settle()
    for (let turn = 0; turn < 3; turn++) {
      lanes[1]?.finish()
      await settle()
    }
    await run
    expect(lanes[1]?.requests.map(({ attach }) => attach[0]?.id)).toEqual([0, 1, 2])
    await pool.close()
  })

  it('takes a lost task off what is in flight before it is sent again', async () => {
    const { pool, lanes } = makePool(1)
    await pool.open()
    let inFlight = 0
    let most = 0
    const job = makeJob([1], {
      dispatched: () => (most = Math.max(most, ++inFlight)),
      undone: () => void inFlight--,
    })
    const run = pool.run(job)
    await settle()
    lanes[0]?.die()
    await settle()
    lanes[1]?.finish()
    await run
    expect(most).toBe(1)
    await pool.close()
  })

  it('gives up with WorkerLostError after the stated number of tries', async () => {
    const { pool, lanes } = makePool(1)
    await pool.open()
    const run = pool.run(makeJob([1]))
    const failure = run.catch((error: unknown) => error)
    for (let death = 0; death < 3; death++) {
      await settle()
      lanes.at(-1)?.die()
    }
    const error = await failure
    expect(error).toBeInstanceOf(WorkerLostError)
    expect(error).toMatchObject({ code: 'WorkerLostError', details: { tries: 3 } })
    await pool.close()
  })

  it('tries a task three times, also where other tasks succeed between the deaths', async () => {
    const { pool, lanes } = makePool(1)
    await pool.open()
    let deaths = 0
    let ended = false
    const failure = pool
      .run(makeJob([1]))
      .catch((error: unknown) => error)
      .finally(() => (ended = true))
    await settle()
    while (!ended && deaths < 9) {
      lanes.at(-1)?.die()
      deaths++
      const other = pool.run(makeJob([1], { priority: 'high' }))
      await settle()
      lanes.at(-1)?.finish()
      await other
      await settle()
    }
    expect(await failure).toBeInstanceOf(WorkerLostError)
    expect(deaths).toBe(3)
    await pool.close()
  })

  it('works again after a job was lost', async () => {
    const { pool, lanes } = makePool(1)
    await pool.open()
    const lost = pool.run(makeJob([1])).catch((error: unknown) => error)
    for (let death = 0; death < 3; death++) {
      await settle()
      lanes.at(-1)?.die()
    }
    await lost
    const job = makeJob([1])
    const run = pool.run(job)
    await settle()
    lanes.at(-1)?.finish()
    await run
    expect(job.done).toHaveLength(1)
    await pool.close()
  })

  it('fails to open when no lane starts, with the first reason, and can be tried again', async () => {
    const reason = new BackendUnavailableError('no worker')
    await expect(makePool(2, () => new FakeLane(reason)).pool.open()).rejects.toBe(reason)
    const { pool } = makePool(2)
    await expect(pool.open()).resolves.toBeUndefined()
    await pool.close()
  })

  it('opens when some lanes start, and uses those', async () => {
    let made = 0
    const { pool, lanes } = makePool(2, () => new FakeLane(made++ > 0 ? new Error('refused') : undefined))
    await pool.open()
    const job = makeJob([1, 1, 1])
    const run = pool.run(job)
    for (let turn = 0; turn < 4; turn++) {
      await settle()
      for (const lane of lanes) lane.finish()
    }
    const { fallbacks } = await run
    expect(job.done).toHaveLength(3)
    expect(fallbacks).toEqual([{ what: 'no lane 1 (wasm)', reason: 'refused' }])
    await pool.close()
  })

  it('cancels where tasks run when the signal aborts, and rejects with its reason', async () => {
    const { pool, lanes } = makePool(2)
    await pool.open()
    const controller = new AbortController()
    const job = makeJob([1, 1, 1, 1], { signal: controller.signal })
    const failure = pool.run(job).catch((error: unknown) => error)
    await settle()
    const reason = new Error('enough')
    controller.abort(reason)
    expect(await failure).toBe(reason)
    expect(lanes.map((lane) => lane.cancelled)).toEqual([[1], [1]])
    lanes[0]?.finish() // a result that comes too late counts for nothing
    await settle()
    expect(job.done).toHaveLength(0)
    await pool.close()
  })

  it('rejects what is pending and what comes after close', async () => {
    const { pool, lanes } = makePool(1)
    await pool.open()
    const failure = pool.run(makeJob([1])).catch((error: unknown) => error)
    await settle()
    await pool.close()
    expect(await failure).toBeInstanceOf(RuntimeClosedError)
    await expect(pool.run(makeJob([1]))).rejects.toBeInstanceOf(RuntimeClosedError)
    expect(lanes.every((lane) => !lane.alive)).toBe(true)
  })

  it('passes a task error on, once, and stays usable', async () => {
    const { pool, lanes } = makePool(1)
    await pool.open()
    const wrong = new Error('wrong')
    const failure = pool.run(makeJob([1, 1])).catch((error: unknown) => error)
    await settle()
    lanes[0]?.fail(wrong)
    expect(await failure).toBe(wrong)
    const job = makeJob([1])
    const run = pool.run(job)
    await settle()
    lanes[0]?.finish()
    await run
    await pool.close()
  })

  it('keeps a lane with its group by transfer, and lets go of what the next task does not need', async () => {
    const { pool, lanes } = makePool(1)
    await pool.open()
    const needs = [
      [10, 1],
      [20, 2],
      [10, 3],
    ]
    const tasks = needs.map((ids, index): JobTask => ({
      tasks: [{ kind: 'attention' } as unknown as Task],
      needs: ids,
      group: ids[0] ?? 0,
      cost: 3 - index,
    }))
    const job = { ...makeJob([]), tasks, sharedMemory: false }
    const run = pool.run(job)
    for (let turn = 0; turn < 3; turn++) {
      await settle()
      lanes[0]?.finish()
    }
    await run
    expect(lanes[0]?.requests.map(({ attach }) => attach.map(({ id }) => id))).toEqual([[10, 1], [3], [20, 2]])
    expect(lanes[0]?.requests.map(({ release }) => release)).toEqual([[], [1], [10, 3]])
    await vi.waitFor(() => expect(lanes[0]?.released).toEqual([20, 2]))
    await pool.close()
  })

  it('tells a lane what it may let go with the next task where one follows at once', async () => {
    const { pool, lanes } = makePool(1)
    await pool.open()
    const first = pool.run(makeJob([1, 1]))
    await settle()
    lanes[0]?.finish()
    await settle()
    lanes[0]?.finish()
    await first
    const second = pool.run(makeJob([1]))
    await settle()
    expect(lanes[0]?.requests[2]?.release).toEqual([0, 1])
    lanes[0]?.finish()
    await second
    await vi.waitFor(() => expect(lanes[0]?.released).toEqual([0]))
    await pool.close()
  })

  it('ends idle lanes on trim and starts them again when there is work', async () => {
    const { pool, lanes } = makePool(1)
    await pool.open()
    await pool.trim()
    expect(lanes[0]?.alive).toBe(false)
    expect(pool.lanes()[0]?.residentBytes).toBe(0)
    const run = pool.run(makeJob([1]))
    await settle()
    expect(lanes).toHaveLength(2)
    lanes[1]?.finish()
    await run
    await pool.close()
  })

  it('keeps the process alive while a lane works, and not longer', async () => {
    const { pool, lanes } = makePool(1)
    await pool.open()
    expect(lanes[0]?.keptAlive).toBe(false)
    const run = pool.run(makeJob([1]))
    await settle()
    expect(lanes[0]?.keptAlive).toBe(true)
    lanes[0]?.finish()
    await run
    await settle()
    expect(lanes[0]?.keptAlive).toBe(false)
    await pool.close()
  })

  it('grants a job no more lanes than its plan has', async () => {
    const { pool, lanes } = makePool(3)
    await pool.open()
    const run = pool.run(makeJob([1, 1, 1], { maxLanes: 1 }))
    await settle()
    expect(lanes.map((lane) => lane.running)).toEqual([1, 0, 0])
    for (let turn = 0; turn < 3; turn++) {
      lanes[0]?.finish()
      await settle()
    }
    await run
    await pool.close()
  })
})
