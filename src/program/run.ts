import { throwIfAborted } from '../core/abort.ts'
import { withBorrowed } from '../core/borrowed.ts'
import { WorkerLostError } from '../core/errors.ts'
import { Ledger, type MemoryReport } from '../core/ledger.ts'
import type { Fallback } from '../protocol/messages.ts'
import type { TaskArray } from '../protocol/task.ts'
import type { Job, LaneShare, Priority } from '../scheduler/job.ts'
import { SharedCopies } from '../scheduler/operands.ts'
import type { ProgramHost, ProgramRuntime } from './host.ts'
import { AloneJob } from './alone-job.ts'
import { ProgramMemory } from './memory.ts'
import type { Value } from './operation.ts'
import { optionArrays } from './operations/attend.ts'
import { parametersOfGraph } from './operations/rules.ts'
import type { Program } from './partition.ts'
import { isSumming, PassJob } from './pass-job.ts'
import { isTiny, planProgram, scratchBytes, wayOf, type LayerPlan } from './plan.ts'
import { isRowStage, type RowStage, type Stage } from './stage.ts'
import { StageJob } from './stage-job.ts'
import { workKinds, WorkTimes, type WorkTime } from './work.ts'

/** How a program was run. */
export interface LayerReport {
  /** what was planned before anything ran */
  readonly plan: LayerPlan
  /** wall-clock time of the call */
  readonly elapsedMs: number
  /** the lanes that did a part of it; a lane has an entry for each job that it took part in */
  readonly lanes: readonly LaneShare[]
  /** what their time went into, where they divide all stages among themselves; else empty */
  readonly work: readonly WorkTime[]
  /** tasks sent again because their worker died */
  readonly retries: number
  /** whether graph, stages and registers are those of an earlier call of the same shape */
  readonly programReused: boolean
  /** everything that ran in another way than asked for, and why */
  readonly fallbacks: readonly Fallback[]
  /** what the call allocated */
  readonly memory: MemoryReport
}

export interface RunOptions {
  readonly signal: AbortSignal | undefined
  readonly priority?: Priority | undefined
  readonly chunkSize: number | undefined
  /** whether results belong in shared memory, as the inputs are */
  readonly sharedOutput: boolean
  /** how many results, from the first, are copied out of shared memory otherwise. @default 1 */
  readonly plainResults?: number
  /** whether the program has run before. @default false */
  readonly isReused?: boolean
  /** called with each stage when it is done; it may look at the data of its values */
  readonly onStage?: ((index: number, dataOf: (value: Value) => TaskArray) => void) | undefined
}

export interface ProgramResult {
  /** the data of the program's results, in their order */
  readonly data: readonly TaskArray[]
  readonly report: LayerReport
}

/** A run that cannot be taken up in the middle begins again so often when a worker was lost. */
const MAX_ATTEMPTS = 3

/** Runs a program stage by stage. @throws as `runtime.attention` does */
export function runProgram(program: Program, runtime: ProgramRuntime, options: RunOptions): Promise<ProgramResult> {
  return withBorrowed('layer', borrowedArrays(program), () => repeatProgram(program, runtime, options))
}

/** What a run reads of memory that callers may hold: inputs, attention's options and parameters. */
function borrowedArrays({ graph, stages }: Program): TaskArray[] {
  const options = stages.filter(isRowStage).flatMap(({ attend }) => (attend === null ? [] : optionArrays(attend)))
  return [...graph.bindings.values(), ...options, ...[...parametersOfGraph(graph)].map(({ data }) => data)]
}

async function repeatProgram(program: Program, runtime: ProgramRuntime, options: RunOptions): Promise<ProgramResult> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await attemptProgram(program, runtime, options, attempt - 1)
    } catch (error) {
      // Chunks of other stages are tried again one by one. Sums are not: what a lost lane added cannot be told.
      if (!(error instanceof WorkerLostError) || attempt === MAX_ATTEMPTS || !program.stages.some(isSumming))
        throw error
    }
  }
}

/** With memory of its own: a lane that was given up may still write to that of an earlier attempt. */
async function attemptProgram(
  program: Program,
  runtime: ProgramRuntime,
  options: RunOptions,
  retries: number,
): Promise<ProgramResult> {
  const startMs = performance.now()
  throwIfAborted(options.signal)
  const tiny = isTiny(program, options.chunkSize)
  if (tiny) await runtime.openCallerLane()
  const host = runtime.stageHost(tiny)
  const plainResults = host.transport === 'shared' && !options.sharedOutput ? (options.plainResults ?? 1) : 0
  const plan = planProgram(program, runtime, { chunkSize: options.chunkSize, plainResults })
  const ledger = laneLedger(host)
  const neededBytes = scratchBytes(program, host.transport, plainResults)
  const scratch = host.scratch.open(neededBytes, plan.bytes['kept buffers'] ?? 0, ledger)
  const placement = { transport: host.transport, sharedOutput: options.sharedOutput, plainResults }
  const memory = new ProgramMemory(program, placement, ledger, scratch)
  const run = new StagesRun(program, host, { plan, memory, copies: new SharedCopies(scratch), ledger, options })
  try {
    await run.all()
    const data = program.results.map((value, index) => memory.result(value, index))
    const report = reportOf(run, { plan, ledger, startMs, options })
    return { data, report: { ...report, retries: retries + run.retries } }
  } finally {
    scratch.release(run.clean)
  }
}

/** A ledger with what lanes hold before the run. */
function laneLedger({ pool }: ProgramHost): Ledger {
  const ledger = new Ledger()
  const lanes = pool.lanes()
  const residentBytes = lanes.reduce((sum, lane) => sum + lane.residentBytes, 0)
  const lastingBytes = lanes.reduce((sum, lane) => sum + lane.lastingBytes, 0)
  ledger.add('lane arenas', residentBytes)
  ledger.add('lane copies', lastingBytes)
  return ledger
}

interface RunFacts {
  readonly plan: LayerPlan
  readonly ledger: Ledger
  readonly startMs: number
  readonly options: RunOptions
}

function reportOf({ lanes, work, fallbacks }: StagesRun, facts: RunFacts): Omit<LayerReport, 'retries'> {
  const { plan, ledger, startMs, options } = facts
  const { peakBytes, peakByPurpose } = ledger
  return {
    plan,
    elapsedMs: performance.now() - startMs,
    lanes,
    work: work.list,
    programReused: options.isReused ?? false,
    fallbacks,
    memory: { plannedBytes: plan.totalBytes, peakBytes, peakByPurpose },
  }
}

/** What one run has. */
interface RunParts {
  readonly plan: LayerPlan
  readonly memory: ProgramMemory
  readonly copies: SharedCopies
  readonly ledger: Ledger
  readonly options: RunOptions
}

/** The stages of one run, one after the other, and what is to be reported of them. */
class StagesRun {
  readonly lanes: LaneShare[] = []
  readonly fallbacks: Fallback[] = []
  readonly work = new WorkTimes()
  retries = 0
  /** whether all is done, and no lane that was given up may still write */
  clean = false
  readonly #way: ReturnType<typeof wayOf>

  constructor(
    private readonly program: Program,
    private readonly host: ProgramHost,
    private readonly parts: RunParts,
  ) {
    this.#way = wayOf(program, host)
    if (this.#way === 'alone' && host.pool.lanes().length > 1) {
      this.fallbacks.push({
        what: 'one lane in place of all',
        reason: 'without shared memory one lane computes the gradients of a sequence',
      })
    }
  }

  async all(): Promise<void> {
    const links = this.#links()
    let job = this.#jobOf(links[0])
    for (let index = 0; job !== undefined; index++) {
      job = await this.#runJob(job, () => this.#jobOf(links[index + 1]))
      this.parts.options.onStage?.(index, (value) => this.parts.memory.dataOf(value))
    }
    this.clean = this.retries === 0
  }

  /**
   * Stages that the lanes do in one go: all, unless someone looks at their values, or the scheduler must place their
   * chunks.
   */
  #links(): (readonly Stage[])[] {
    const { stages } = this.program
    const apart = this.#way === 'tasks' || (this.#way === 'pass' && this.parts.options.onStage !== undefined)
    return apart || stages.length === 0 ? stages.map((stage) => [stage]) : [stages]
  }

  #jobOf(stages: readonly Stage[] = []): Job | undefined {
    const [first] = stages
    if (first === undefined) return undefined
    const { plan, memory, copies, ledger, options } = this.parts
    const { forGradients } = this.program.graph
    const stageOptions = {
      ...plan,
      signal: options.signal,
      priority: options.priority,
      ...(forGradients ? { withoutGpu: true as const } : {}),
    }
    const passOptions = { ...stageOptions, kinds: workKinds(stages, this.program.graph), work: this.work }
    if (this.#way === 'alone') return new AloneJob(this.program, passOptions, memory, ledger, copies)
    for (const stage of stages) memory.prepare(stage)
    if (this.#way === 'pass') return new PassJob(stages, passOptions, memory, ledger, copies)
    return isRowStage(first) ? new StageJob(first satisfies RowStage, stageOptions, memory, ledger, copies) : undefined
  }

  /** Prepares what comes next while the lanes work. Where that fails, they end first: they may still write. */
  async #runJob(job: Job, prepareNext: () => Job | undefined): Promise<Job | undefined> {
    const running = this.host.pool.run(job)
    try {
      const next = prepareNext()
      const outcome = await running
      this.lanes.push(...outcome.lanes)
      this.fallbacks.push(...outcome.fallbacks)
      this.retries += outcome.retries
      return next
    } catch (error) {
      await running.catch(() => undefined)
      throw error
    }
  }
}
