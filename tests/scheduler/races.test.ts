import fc, { type Scheduler } from 'fast-check'
import { expect, test } from 'vitest'
import type { TaskRequest, TaskResponse } from '../../src/protocol/messages.ts'
import type { Job, JobTask } from '../../src/scheduler/job.ts'
import { propertySettings } from '../support/random-calls.ts'
import { FakeLane } from './fake-lane.ts'
import { makeJob, makePool, settle, type FakePool } from './fake-pool.ts'

console.info(`races in the pool: HEDDLE_SEED=${propertySettings.seed}`)

/** A lane that answers when the scheduler says so. */
class ScheduledLane extends FakeLane {
  /** the most tasks of one job that it had at once */
  most = 0
  readonly #atWork = new Map<number, number>()

  constructor(private readonly scheduler: Scheduler) {
    super()
  }

  override run(request: TaskRequest): Promise<TaskResponse> {
    const answer = super.run(request)
    this.#count(request.jobId, 1)
    answer.then(
      () => this.#count(request.jobId, -1),
      () => undefined,
    )
    void this.scheduler.schedule(Promise.resolve(), `an answer to job ${request.jobId}`).then(() => this.finish())
    return answer
  }

  #count(jobId: number, change: number): void {
    const atWork = (this.#atWork.get(jobId) ?? 0) + change
    this.#atWork.set(jobId, atWork)
    this.most = Math.max(this.most, atWork)
  }
}

/** What happens to one job, and what is told of it. */
interface JobModel {
  readonly tasks: number
  readonly depth: number
  readonly isShort: boolean
  readonly isShared: boolean
  readonly isAborted: boolean
}

const jobModel = fc.record({
  tasks: fc.integer({ min: 0, max: 5 }),
  depth: fc.integer({ min: 1, max: 2 }),
  isShort: fc.boolean(),
  isShared: fc.boolean(),
  isAborted: fc.boolean(),
})
const model = fc.record({
  lanes: fc.integer({ min: 1, max: 3 }),
  jobs: fc.array(jobModel, { minLength: 1, maxLength: 4 }),
  deaths: fc.integer({ min: 0, max: 3 }),
  isClosed: fc.boolean(),
})

/** A job that counts what it is told. */
class CountedJob {
  readonly completed = new Map<JobTask, number>()
  readonly controller = new AbortController()
  readonly job: Job
  atWork = 0
  outcome: 'pending' | 'done' | Error = 'pending'

  constructor({ tasks, depth, isShort, isShared }: JobModel) {
    this.job = makeJob(
      Array.from({ length: tasks }, (_, index) => (isShort ? 1e8 : 5e9) + index),
      {
        depth,
        sharedMemory: isShared,
        mayRunBeside: isShort,
        signal: this.controller.signal,
        dispatched: () => void this.atWork++,
        undone: () => void this.atWork--,
        completed: (task) => {
          this.atWork--
          this.completed.set(task, (this.completed.get(task) ?? 0) + 1)
        },
      },
    )
  }

  start({ pool }: FakePool): void {
    pool.run(this.job).then(
      () => (this.outcome = 'done'),
      (error: unknown) => (this.outcome = error as Error),
    )
  }

  check({ isAborted }: JobModel, { deaths, isClosed }: { readonly deaths: number; readonly isClosed: boolean }): void {
    expect(this.outcome).not.toBe('pending')
    if (this.outcome === 'done') {
      expect([...this.completed.values()]).toEqual(this.job.tasks.map(() => 1))
      expect(this.atWork).toBe(0)
      return
    }
    const allowed = [
      ...(isAborted ? ['stop'] : []),
      ...(isClosed ? ['RuntimeClosedError'] : []),
      ...(deaths > 2 ? ['WorkerLostError'] : []),
    ]
    expect(allowed).toContain((this.outcome as Error).name)
  }
}

/** Lets the scheduler run until nothing is left to happen. */
async function runDown(scheduler: Scheduler): Promise<void> {
  do {
    await scheduler.waitIdle()
    await settle()
  } while (scheduler.count() > 0)
}

test(
  'whatever the order of answers, deaths, aborts and a close: every job settles, each task counts once, no lane has more than planned or is kept awake',
  async () => {
    const stop = Object.assign(new Error('stop'), { name: 'stop' })
    await fc.assert(
      fc.asyncProperty(fc.scheduler(), model, async (scheduler, { lanes, jobs, deaths, isClosed }) => {
        const fake = makePool(lanes, () => new ScheduledLane(scheduler))
        await fake.pool.open()
        const counted = jobs.map((each) => new CountedJob(each))
        const when = (what: string, act: () => unknown): void =>
          void scheduler.schedule(Promise.resolve(), what).then(act)
        counted.forEach((each, index) => {
          when(`job ${index} starts`, () => each.start(fake))
          if (jobs[index]!.isAborted) when(`job ${index} is aborted`, () => each.controller.abort(stop))
        })
        for (let death = 0; death < deaths; death++)
          when('a lane dies', () => fake.lanes.findLast((lane) => lane.alive)?.die())
        if (isClosed) when('the pool closes', () => fake.pool.close())
        await runDown(scheduler)
        counted.forEach((each, index) => each.check(jobs[index]!, { deaths, isClosed }))
        for (const lane of fake.lanes)
          expect((lane as ScheduledLane).most).toBeLessThanOrEqual(Math.max(...jobs.map(({ depth }) => depth)))
        expect(fake.pool.isBusy).toBe(false)
        expect(fake.isBeating()).toBe(false)
        for (const lane of fake.lanes) if (lane.alive) expect(lane.keptAlive).toBe(false)
        await fake.pool.close()
      }),
      { seed: propertySettings.seed, numRuns: propertySettings.numRuns * 3 },
    )
  },
  propertySettings.timeoutMs,
)
