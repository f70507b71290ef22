import type { Runtime } from 'heddle'
import type { ElementsPass } from '../../../src/protocol/element-pass.ts'
import type { StagePass } from '../../../src/protocol/stage-pass.ts'
import type { Job, JobOutcome } from '../../../src/scheduler/job.ts'
import { runElements } from '../../../src/scheduler/run-elements.ts'

/** A lane that runs blocks on this thread whenever the test says so, as one does that was given up and still works. */
export interface StrayLane {
  /** Runs the blocks of the last job again. */
  work(): Promise<void>
  readonly runtime: Runtime
}

/** @param end how its pool ends each job, once the lane has done the whole of it */
export function strayLane(end: () => JobOutcome): StrayLane {
  let last: Job | undefined
  const work = async (): Promise<void> => {
    const job = last
    const [pass] = (job?.tasks[0]?.tasks ?? []) as readonly StagePass[]
    const [stage] = (pass?.stages ?? []) as readonly ElementsPass[]
    if (job === undefined || stage === undefined) throw new Error('expected a job before')
    const context = { array: (id: number) => job.provide(id), pace: () => undefined }
    for (const [index, block] of stage.blocks.entries())
      await runElements({ kind: 'elements', block, sums: stage.sums, index }, context)
  }
  const pool = {
    lanes: () => [{}, {}],
    run: async (job: Job): Promise<JobOutcome> => {
      last = job
      await work()
      return end()
    },
  }
  return { work, runtime: { stageHost: () => ({ pool, transport: 'shared' }) } as unknown as Runtime }
}
