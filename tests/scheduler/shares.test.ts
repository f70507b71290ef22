import { describe, expect, it } from 'vitest'
import { BackendUnavailableError } from '../../src/core/errors.ts'
import type { JobTask } from '../../src/scheduler/job.ts'
import { FakeLane } from './fake-lane.ts'
import { makeJob, makePool, settle } from './fake-pool.ts'

describe('Pool, with passes', () => {
  it('gives each lane one share of a pass, beside the task of another call', async () => {
    const { pool, lanes } = makePool(2)
    await pool.open()
    const other = pool.run(makeJob([1, 1]))
    const pass = pool.run(makeJob([1, 1], { isPass: true }))
    await settle()
    expect(lanes.map((lane) => lane.running)).toEqual([2, 2])
    const third = pool.run(makeJob([1, 1]))
    await settle()
    expect(lanes.map((lane) => lane.running)).toEqual([2, 2])
    for (const lane of lanes) lane.finish() // the other call's: the third call takes its place
    await settle()
    expect(lanes.map((lane) => lane.running)).toEqual([2, 2])
    await other
    for (const lane of lanes) {
      lane.finish()
      lane.finish()
    }
    expect((await pass).lanes).toHaveLength(2)
    await third
    await pool.close()
  })

  it('says which share of a pass was lost, and gives it to a lane that has ended its own', async () => {
    const { pool, lanes } = makePool(
      2,
      () => new FakeLane(lanes.length >= 2 ? new BackendUnavailableError('no more workers') : undefined),
    )
    await pool.open()
    const lost: JobTask[] = []
    const job = makeJob([1, 1], { isPass: true, undone: (task) => void lost.push(task) })
    const run = pool.run(job)
    await settle()
    lanes[1]?.die()
    await settle()
    expect(lost).toEqual([job.tasks[1]])
    expect(lanes[0]?.running).toBe(1)
    lanes[0]?.finish()
    await settle()
    lanes[0]?.finish()
    expect(await run).toMatchObject({ retries: 1, fallbacks: [{ what: 'no lane 1 (wasm)' }] })
    await pool.close()
  })
})
