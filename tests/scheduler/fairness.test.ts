import { describe, expect, it } from 'vitest'
import type { Job } from '../../src/scheduler/job.ts'
import type { FakeLane } from './fake-lane.ts'
import { makeJob, makePool, settle } from './fake-pool.ts'

const LONG = 20e9
const SHORT = 1e8

/** The jobs whose tasks a lane was given, in order; those on its second bench are marked. */
const order = (lane: FakeLane | undefined): string[] =>
  lane?.requests.map(({ jobId, beside }) => `${jobId}${beside === true ? ' beside' : ''}`) ?? []

async function finishAll(lanes: readonly FakeLane[]): Promise<void> {
  while (lanes.some((lane) => lane.running > 0)) {
    for (const lane of lanes) lane.finish()
    await settle()
  }
}

/** Starts one long job on a pool, then the others. */
async function withLong(
  lanes: number,
  costs: number,
  others: readonly (readonly [readonly number[], Partial<Job>])[],
  long: Partial<Job> = {},
) {
  const made = makePool(lanes)
  await made.pool.open()
  const runs = [made.pool.run(makeJob(new Array<number>(costs).fill(LONG), long))]
  await settle()
  for (const [tasks, extra] of others) runs.push(made.pool.run(makeJob(tasks, extra)))
  await settle()
  return { ...made, runs }
}

describe('the feeding of several jobs', () => {
  it('is oldest first among short ones', async () => {
    const { pool, lanes, runs } = await withLong(1, 1, [
      [[SHORT, SHORT], {}],
      [[SHORT], {}],
    ])
    await finishAll(lanes)
    expect(order(lanes[0])).toEqual(['1', '2', '2', '3'])
    await Promise.all(runs)
    await pool.close()
  })

  it('lets jobs share the lanes by the work that they were given', async () => {
    const { pool, lanes, runs } = await withLong(1, 3, [
      [[LONG, LONG, LONG], {}],
      [new Array<number>(4).fill(SHORT), {}],
    ])
    await finishAll(lanes)
    expect(order(lanes[0])).toEqual(['1', '2', '3', '3', '3', '3', '1', '2', '1', '2'])
    await Promise.all(runs)
    await pool.close()
  })

  it('does not give a job that comes late all the time that others had before', async () => {
    const { pool, lanes } = await withLong(1, 6, [])
    for (let done = 0; done < 3; done++) {
      lanes[0]?.finish()
      await settle()
    }
    void pool.run(makeJob([LONG, LONG, LONG])).catch(() => undefined)
    await finishAll(lanes)
    expect(order(lanes[0])).toEqual(['1', '1', '1', '1', '2', '1', '2', '1', '2'])
    await pool.close()
  })

  it('keeps a second task at a lane only while there is one job', async () => {
    const { pool, lanes, runs } = await withLong(2, 8, [[[LONG], {}]], { depth: 2 })
    expect(lanes.map((lane) => lane.running)).toEqual([2, 2])
    lanes[0]?.finish()
    lanes[1]?.finish()
    await settle()
    expect(lanes.map((lane) => lane.running)).toEqual([1, 1])
    await finishAll(lanes)
    await Promise.all(runs)
    await pool.close()
  })

  it('is by priority first', async () => {
    const { pool, lanes, runs } = await withLong(1, 2, [
      [[SHORT], { priority: 'low' }],
      [[SHORT, SHORT], { priority: 'high' }],
      [[SHORT], { priority: 'normal' }],
    ])
    await finishAll(lanes)
    expect(order(lanes[0])).toEqual(['1', '3', '3', '4', '1', '2'])
    await Promise.all(runs)
    await pool.close()
  })
})

describe('the second bench of a lane', () => {
  it('takes a short task at once while a long one of another job runs, one at a time', async () => {
    const { pool, lanes, runs } = await withLong(2, 2, [[[SHORT, SHORT, SHORT], { mayRunBeside: true }]])
    expect(lanes.map(order)).toEqual([
      ['1', '2 beside'],
      ['1', '2 beside'],
    ])
    await finishAll(lanes)
    await Promise.all(runs)
    await pool.close()
  })

  it('counts among the tasks that a job may have at a lane, when the first bench is free again', async () => {
    const { pool, lanes, runs } = await withLong(1, 1, [[[SHORT, SHORT], { mayRunBeside: true }]])
    lanes[0]?.finish() // the long job's
    await settle()
    expect(order(lanes[0])).toEqual(['1', '2 beside'])
    lanes[0]?.finish()
    await settle()
    expect(order(lanes[0])).toEqual(['1', '2 beside', '2'])
    await finishAll(lanes)
    await Promise.all(runs)
    await pool.close()
  })

  it('is not for long tasks, nor where the plan has no room for it', async () => {
    const { pool, lanes, runs } = await withLong(1, 1, [
      [[LONG], { mayRunBeside: true }],
      [[SHORT], {}],
    ])
    expect(order(lanes[0])).toEqual(['1'])
    await finishAll(lanes)
    await Promise.all(runs)
    await pool.close()
  })

  it('takes long tasks of a higher priority, and none of a lower one', async () => {
    const { pool, lanes, runs } = await withLong(1, 1, [
      [[SHORT], { mayRunBeside: true, priority: 'low' }],
      [[LONG], { mayRunBeside: true, priority: 'high' }],
    ])
    expect(order(lanes[0])).toEqual(['1', '3 beside'])
    await finishAll(lanes)
    await Promise.all(runs)
    await pool.close()
  })

  it('takes the tasks of others while a long pass is under way, and a pass of short chunks', async () => {
    const short = {
      ...makeJob([]),
      isPass: true,
      mayRunBeside: true,
      tasks: makeJob([LONG]).tasks.map((task) => ({ ...task, pieceCost: SHORT })),
    }
    const { pool, lanes, runs } = await withLong(
      1,
      1,
      [
        [[SHORT, SHORT], { mayRunBeside: true }],
        [[], short],
      ],
      { isPass: true },
    )
    expect(order(lanes[0])).toEqual(['1', '2 beside', '3 beside'])
    await finishAll(lanes)
    await Promise.all(runs)
    await pool.close()
  })
})
