import { throwIfAborted } from '../core/abort.ts'
import { Ledger, type ArraySource, type BytesByPurpose } from '../core/ledger.ts'
import { isShared } from '../core/shared-memory.ts'
import type { Transport } from '../plan/attention-plan.ts'
import { KEPT_PURPOSE } from '../plan/kept-buffers.ts'
import type { Fallback } from '../protocol/messages.ts'
import type { TaskArray } from '../protocol/task.ts'
import type { Job, LaneShare } from '../scheduler/job.ts'
import { SharedCopies } from '../scheduler/operands.ts'
import type { ProgramHost, ProgramRuntime } from './host.ts'
import { elementsOf, type Value } from './operation.ts'
import type { Program, Stage } from './partition.ts'
import { PassJob } from './pass-job.ts'
import { handedSlots, isTiny, planProgram, runsAsPass, scratchBytes, type LayerPlan } from './plan.ts'
import { assignSlots, rootOf, type Slot } from './slots.ts'
import { StageJob } from './stage-job.ts'

/** How a program was run. */
export interface LayerReport {
  readonly plan: LayerPlan
  readonly elapsedMs: number
  /** the lanes that did a part of it; a lane has an entry for each job that it took part in */
  readonly lanes: readonly LaneShare[]
  /** tasks sent again because their worker died */
  readonly retries: number
  readonly fallbacks: readonly Fallback[]
  /** what the counting allocator saw */
  readonly memory: { readonly plannedBytes: number; readonly peakBytes: number; readonly peakByPurpose: BytesByPurpose }
}

export interface RunOptions {
  readonly signal: AbortSignal | undefined
  readonly chunkSize: number | undefined
  /** whether the result belongs in shared memory, as the inputs are */
  readonly sharedOutput: boolean
  /** hears of each stage when it is done, and may look at the data of its values */
  readonly onStage: ((index: number, dataOf: (value: Value) => TaskArray) => void) | undefined
}

export interface ProgramResult {
  /** the data of the program's results, in their order */
  readonly data: readonly TaskArray[]
  readonly report: LayerReport
}

/** Runs a program stage by stage. @throws as `runtime.attention` does */
export async function runProgram(program: Program, runtime: ProgramRuntime, options: RunOptions): Promise<ProgramResult> {
  const startMs = performance.now()
  throwIfAborted(options.signal)
  const tiny = isTiny(program, options.chunkSize)
  if (tiny) await runtime.openCallerLane()
  const host = runtime.stageHost(tiny)
  const plainOutput = host.transport === 'shared' && !options.sharedOutput
  const plan = planProgram(program, runtime, { chunkSize: options.chunkSize, plainOutput })
  const ledger = new Ledger()
  ledger.add('lane arenas', host.pool.lanes().reduce((sum, lane) => sum + lane.residentBytes, 0))
  ledger.add('lane copies', host.pool.lanes().reduce((sum, lane) => sum + lane.lastingBytes, 0))
  const scratch = host.scratch.open(scratchBytes(program, host.transport, plainOutput), plan.bytes[KEPT_PURPOSE] ?? 0, ledger)
  const memory = new ProgramMemory(program, { transport: host.transport, sharedOutput: options.sharedOutput, plainOutput }, ledger, scratch)
  const run = new StagesRun(host, plan, memory, new SharedCopies(scratch), ledger, options)
  try {
    await run.all(program.stages)
    const data = program.results.map((value, index) => memory.result(value, index))
    const { lanes, retries, fallbacks } = run
    const { peakBytes, peakByPurpose } = ledger
    const report = { plan, elapsedMs: performance.now() - startMs, lanes, retries, fallbacks, memory: { plannedBytes: plan.totalBytes, peakBytes, peakByPurpose } }
    return { data, report }
  } finally {
    scratch.release(run.clean)
  }
}

/** The stages of one run, one after the other, and what is to be reported of them. */
class StagesRun {
  readonly lanes: LaneShare[] = []
  readonly fallbacks: Fallback[] = []
  retries = 0
  /** whether all is done, and no lane that was given up may still write */
  clean = false
  readonly #asPass: boolean

  constructor(
    private readonly host: ProgramHost,
    private readonly plan: LayerPlan,
    private readonly memory: ProgramMemory,
    private readonly copies: SharedCopies,
    private readonly ledger: Ledger,
    private readonly options: RunOptions,
  ) {
    this.#asPass = runsAsPass(host)
  }

  async all(stages: readonly Stage[]): Promise<void> {
    const links = this.#linksOf(stages)
    let job = this.#jobOf(links[0])
    for (let index = 0; job !== undefined; index++) {
      job = await this.#runJob(job, () => this.#jobOf(links[index + 1]))
      this.options.onStage?.(index, (value) => this.memory.dataOf(value))
    }
    this.clean = this.retries === 0
  }

  /** Stages that the lanes do in one go: all, unless someone looks at their values, or the scheduler must place their chunks. */
  #linksOf(stages: readonly Stage[]): (readonly Stage[])[] {
    const alone = this.options.onStage !== undefined || !this.#asPass
    return alone || stages.length === 0 ? stages.map((stage) => [stage]) : [stages]
  }

  #jobOf(stages: readonly Stage[] = []): Job | undefined {
    const [first] = stages
    if (first === undefined) return undefined
    for (const stage of stages) this.memory.prepare(stage)
    const options = { ...this.plan, signal: this.options.signal }
    const dataOf = (value: Value): TaskArray => this.memory.dataOf(value)
    if (this.#asPass) return new PassJob(stages, options, dataOf, this.ledger, this.copies)
    return new StageJob(first, options, dataOf, this.ledger, this.copies)
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

/** The data of a program's values. */
class ProgramMemory {
  readonly #slotOf: ReadonlyMap<Value, number>
  readonly #slots: readonly Slot[]
  readonly #arrays: (TaskArray | null)[]
  readonly #handed: ReadonlySet<number>
  readonly #outputSlot: number | undefined

  constructor(
    private readonly program: Program,
    private readonly output: { readonly transport: Transport; readonly sharedOutput: boolean; readonly plainOutput: boolean },
    private readonly ledger: Ledger,
    private readonly scratch: ArraySource,
  ) {
    const { slots, slotOf } = assignSlots(program)
    this.#slots = slots
    this.#slotOf = slotOf
    this.#arrays = slots.map(() => null)
    this.#handed = handedSlots(program, output.plainOutput)
    const [first] = program.results
    this.#outputSlot = first === undefined ? undefined : slotOf.get(first)
  }

  /** Gives what the stage writes its memory: a slot whose last reader is a stage before it, or a fresh one. */
  prepare({ writes }: Stage): void {
    for (const { to } of writes) {
      const slot = this.#slotOf.get(to)
      if (slot !== undefined) this.#arrays[slot] ??= this.#arrayOf(slot)
    }
  }

  dataOf(value: Value): TaskArray {
    const slot = this.#slotOf.get(value)
    const data = slot === undefined ? this.program.graph.bindings.get(rootOf(value)) : this.#arrays[slot]
    if (data === undefined || data === null) throw new Error(`program: ${value.name} was used before it was made`)
    return data
  }

  #arrayOf(slot: number): TaskArray {
    const { elements, integers } = this.#slots[slot] as Slot
    const { transport, sharedOutput } = this.output
    const Class = integers ? Int32Array : Float32Array
    if (!this.#handed.has(slot)) return this.scratch.array<TaskArray>('activations', Class, elements, transport === 'shared')
    const output = slot === this.#outputSlot
    return this.ledger.array<TaskArray>(output ? 'output' : 'details', Class, elements, transport === 'shared' || (output && sharedOutput))
  }

  /** The caller's: the output is copied where it must not stay in shared memory. */
  result(value: Value, index: number): TaskArray {
    const data = this.#slotOf.has(value) ? this.dataOf(value) : this.#passedThrough(value)
    if (index > 0 || !this.output.plainOutput || !isShared(data)) return data
    const copy = this.ledger.array('output', Float32Array, data.length, false)
    copy.set(data)
    return copy
  }

  /** A result that no operation made, as of a layer that does nothing: a copy of the input. */
  #passedThrough(value: Value): TaskArray {
    const copy = this.ledger.array('output', Float32Array, elementsOf(value), this.output.sharedOutput)
    copy.set(this.dataOf(value))
    return copy
  }
}
