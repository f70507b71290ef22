import type { Fallback, LaneKind, Task, TaskResult } from '../protocol/messages.ts'
import type { ArrayId, AttachedArray } from '../protocol/task.ts'

/**
 * Tasks that go to one lane in one message, with what the pool must know to place them. One task, unless they are tiny.
 */
export interface JobTask {
  readonly tasks: readonly Task[]
  /** arrays that its lane must hold */
  readonly needs: readonly ArrayId[]
  /** tasks of a group share arrays that are costly to send; a lane stays with its group while it has tasks */
  readonly group: number
  /** its work in flops, for the order: longest first */
  readonly cost: number
  /** the most that a lane does of it before it turns to other work; all of it unless it is a share of a pass */
  readonly pieceCost?: number
}

/** Which of several calls that wait goes first. */
export type Priority = (typeof PRIORITIES)[number]

/** The first goes first. */
export const PRIORITIES = ['high', 'normal', 'low'] as const

/** Where and when tasks of a message ran. */
export interface TaskRun {
  readonly lane: number
  readonly kind: LaneKind
  /** when the calling thread heard of the end, by its `performance.now()` */
  readonly endMs: number
}

/** The work of one call. The pool hands its tasks out; the job keeps the data and takes the results. */
export interface Job {
  readonly tasks: readonly JobTask[]
  /** Without shared memory a lane gets copies and forgets those that its next task does not need. */
  readonly sharedMemory: boolean
  /** lanes that may take part at once; the plan may grant fewer than the pool has */
  readonly maxLanes: number
  /** Whether each task is one lane's share of a pass: a lane gets one, beside the tasks of other calls. */
  readonly isPass?: boolean
  /**
   * messages of tasks at one lane at once: a second one waits there, so that the lane need not idle while a result
   * travels
   */
  readonly depth: number
  readonly signal: AbortSignal | undefined
  /**
   * Whether a task whose lane was lost can be done again; else the job fails with a WorkerLostError at once. @default
   * true
   */
  readonly retries?: boolean
  /** @default 'normal' */
  readonly priority?: Priority | undefined
  /**
   * Whether its plan has room for a second bench at each lane, where its tasks run in turns with those of other calls.
   */
  readonly mayRunBeside?: boolean
  /** The array to attach to one lane: the shared one, or a fresh copy that is then transferred. */
  provide(id: ArrayId): AttachedArray['array']
  /** A lane let go of an array that `provide` made for it. */
  returned?(id: ArrayId): void
  /**
   * Bytes of an array that stays with its lane when the job is over, for later jobs that need the same id; 0 of any
   * other.
   */
  lastingBytes?(id: ArrayId): number
  /**
   * Lasting arrays go, the least recently used first, where a lane would come to hold more than it did and more than
   * that.
   */
  readonly lastingLimitBytes?: number
  /** What a lane holds as lasting copies grew, or shrank. */
  laneKept?(bytes: number): void
  /** What a lane holds for itself grew, or shrank. */
  laneGrew?(bytes: number): void
  /** A task leaves for a lane. */
  dispatched?(task: JobTask): void
  /** A task came back without a result, because its lane was lost, and will be sent again. */
  undone?(task: JobTask): void
  /** The results, once for each task, in any order. */
  completed(task: JobTask, results: readonly TaskResult[], by: TaskRun): void
}

/** Who did what, for the report. */
export interface LaneShare {
  /** its number in the pool */
  readonly lane: number
  /** what computes on it */
  readonly kind: LaneKind
  /** the binary or GPU */
  readonly kernels: string
  /** messages of tasks, or chunks of a pass */
  readonly tasks: number
  /** how long it worked for this call */
  readonly busyMs: number
  /** what it holds for itself: its arena, or its device buffers */
  readonly residentBytes: number
}

export interface JobOutcome {
  readonly lanes: readonly LaneShare[]
  /** tasks that were sent again because their lane died */
  readonly retries: number
  readonly fallbacks: readonly Fallback[]
}
