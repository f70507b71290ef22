import { PRIORITIES } from './job.ts'
import type { JobState } from './job-state.ts'

/** So many flops, about 50 ms of one lane, are no difference between jobs: those that came first go first. */
const QUANTUM_FLOPS = 1e9

/**
 * A task of at most so many may run beside another call's: it is over soon, and the other one has half of the lane
 * meanwhile.
 */
export const BESIDE_FLOPS = 1e9

/**
 * Whether `a` is fed before `b`: by priority; then the job that was handed out less work, so that jobs share the lanes;
 * then the one with fewer tasks running; then the older one.
 */
export function goesFirst(a: JobState, b: JobState): boolean {
  const differences = [
    rankOf(a) - rankOf(b),
    Math.floor(a.handedOut / QUANTUM_FLOPS) - Math.floor(b.handedOut / QUANTUM_FLOPS),
    a.running - b.running,
    a.id - b.id,
  ]
  return (differences.find((difference) => difference !== 0) ?? 0) < 0
}

/** Whether the next task of `newcomer` may share a lane with what runs there of `other`. */
export function mayRunBeside(newcomer: JobState, other: JobState): boolean {
  if (newcomer.job.mayRunBeside !== true) return false
  const [mine, its] = [rankOf(newcomer), rankOf(other)]
  return mine < its || (mine === its && newcomer.pieceCost <= BESIDE_FLOPS)
}

function rankOf({ job }: JobState): number {
  return PRIORITIES.indexOf(job.priority ?? 'normal')
}
