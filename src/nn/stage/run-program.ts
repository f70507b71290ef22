import type { AttentionResult } from '../../attention/attention-options.ts'
import { SharedCopies } from '../../scheduler/operands.ts'
import { Ledger, type ArraySource, type BytesByPurpose } from '../../core/ledger.ts'
import { isShared } from '../../core/shared-memory.ts'
import type { Transport } from '../../plan/attention-plan.ts'
import { KEPT_PURPOSE } from '../../plan/kept-buffers.ts'
import type { Fallback } from '../../protocol/messages.ts'
import type { Job, LaneShare } from '../../scheduler/job.ts'
import { dataOf, type StageBuffer } from './buffers.ts'
import { assignSlots, isStage, type AttentionCall, type ProgramPart, type StageProgram } from './program.ts'
import { PassJob } from './pass-job.ts'
import { isTiny, planProgram, runsAsPass, scratchBytes, type LayerPlan } from './program-plan.ts'
import type { LayerRuntime, StageHost } from './stage-host.ts'
import { StageJob } from './stage-job.ts'

/** How a forward pass was run. */
export interface LayerReport {
  readonly plan: LayerPlan
  readonly elapsedMs: number
  /** the lanes that did a part of it; a lane has an entry for each run of stages between attention calls */
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
  /** hears of each part when it is done; its buffers hold data then */
  readonly onPart: ((part: ProgramPart) => void) | undefined
}

export interface ProgramResult {
  readonly data: Float32Array
  /** what the attention calls among the parts gave, in order */
  readonly attention: readonly AttentionResult[]
  readonly report: LayerReport
}

/** Runs a program part by part. Its buffers hold no data afterwards. @throws as `runtime.attention` does */
export async function runProgram(program: StageProgram, runtime: LayerRuntime, options: RunOptions): Promise<ProgramResult> {
  const startMs = performance.now()
  options.signal?.throwIfAborted()
  const tiny = isTiny(program, options.chunkSize)
  if (tiny) await runtime.openCallerLane()
  const host = runtime.stageHost(tiny)
  const plainOutput = host.transport === 'shared' && !options.sharedOutput
  const plan = planProgram(program, runtime, { chunkSize: options.chunkSize, plainOutput })
  const ledger = new Ledger()
  ledger.add('lane arenas', host.pool.lanes().reduce((sum, lane) => sum + lane.residentBytes, 0))
  ledger.add('lane copies', host.pool.lanes().reduce((sum, lane) => sum + lane.lastingBytes, 0))
  const scratch = host.scratch.open(scratchBytes(program, host.transport, plainOutput), plan.bytes[KEPT_PURPOSE] ?? 0, ledger)
  const memory = new SlotMemory(program, { transport: host.transport, sharedOutput: options.sharedOutput, plainOutput }, ledger, scratch)
  const run = new PartsRun(runtime, host, plan, memory, new SharedCopies(scratch), ledger, options)
  try {
    await run.all(program.parts)
    const data = memory.result(program.output)
    const { attention, lanes, retries, fallbacks } = run
    const { peakBytes, peakByPurpose } = ledger
    const report = { plan, elapsedMs: performance.now() - startMs, lanes, retries, fallbacks, memory: { plannedBytes: plan.totalBytes, peakBytes, peakByPurpose } }
    return { data, attention, report }
  } finally {
    memory.release()
    scratch.release(run.clean)
  }
}

/** The parts of one pass, one after the other, and what is to be reported of them. */
class PartsRun {
  readonly attention: AttentionResult[] = []
  readonly lanes: LaneShare[] = []
  readonly fallbacks: Fallback[] = []
  retries = 0
  /** whether all is done, and no lane that was given up may still write */
  clean = false
  readonly #asPass: boolean

  constructor(
    private readonly runtime: LayerRuntime,
    private readonly host: StageHost,
    private readonly plan: LayerPlan,
    private readonly memory: SlotMemory,
    private readonly copies: SharedCopies,
    private readonly ledger: Ledger,
    private readonly options: RunOptions,
  ) {
    this.#asPass = runsAsPass(host)
  }

  async all(parts: readonly ProgramPart[]): Promise<void> {
    const links = this.#linksOf(parts)
    let job = this.#jobOf(links[0])
    for (const [index, link] of links.entries()) {
      const prepareNext = (): Job | undefined => this.#jobOf(links[index + 1])
      if (job === undefined) {
        for (const part of link) if (!isStage(part)) await this.#call(part)
        job = prepareNext()
      } else {
        job = await this.#runJob(job, prepareNext)
      }
      for (const part of link) this.options.onPart?.(part)
    }
    this.clean = this.retries === 0 && this.attention.every((call) => call.report.retries === 0)
  }

  /** Parts that the lanes do in one go: stages in a row, unless someone looks at their tensors, or the scheduler must place their chunks. */
  #linksOf(parts: readonly ProgramPart[]): ProgramPart[][] {
    const alone = this.options.onPart !== undefined || !this.#asPass
    const links: ProgramPart[][] = []
    for (const part of parts) {
      const last = links.at(-1)
      if (alone || last === undefined || !isStage(part) || !last.every(isStage)) links.push([part])
      else last.push(part)
    }
    return links
  }

  /** undefined: the link is an attention call, or there is none. */
  #jobOf(link: readonly ProgramPart[] = []): Job | undefined {
    const stages = link.filter(isStage)
    const [first] = stages
    if (first === undefined) return undefined
    for (const stage of stages) this.memory.prepare(stage)
    const options = { ...this.plan, signal: this.options.signal }
    return this.#asPass ? new PassJob(stages, options, this.ledger, this.copies) : new StageJob(first, options, this.ledger, this.copies)
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

  async #call(part: AttentionCall): Promise<void> {
    this.memory.prepare(part)
    const bytes = part.bytes(this.runtime)
    this.ledger.add('attention calls', bytes)
    this.attention.push(await part.run(this.runtime, this.options.signal))
    this.ledger.remove('attention calls', bytes)
  }
}

/** The memory of the tensors between the parts. */
class SlotMemory {
  readonly #slotOf: ReadonlyMap<StageBuffer, number>
  readonly #arrays: (Float32Array | null)[]
  readonly #outputSlot: number | undefined

  constructor(
    program: StageProgram,
    private readonly output: { readonly transport: Transport; readonly sharedOutput: boolean; readonly plainOutput: boolean },
    private readonly ledger: Ledger,
    private readonly scratch: ArraySource,
  ) {
    const { slots, slotOf } = assignSlots(program)
    this.#slotOf = slotOf
    this.#arrays = slots.map(() => null)
    this.#outputSlot = slotOf.get(program.output)
  }

  /** Gives what the part writes its memory: a slot whose last reader is a part before it, or a fresh one. */
  prepare({ writes }: ProgramPart): void {
    for (const { buffer } of writes) {
      const slot = this.#slotOf.get(buffer)
      if (slot === undefined || buffer.data !== null) continue
      buffer.data = this.#arrays[slot] ??= slot === this.#outputSlot ? this.#outputArray(buffer.elements) : this.#scratchArray(buffer.elements)
    }
  }

  #scratchArray(elements: number): Float32Array {
    return this.scratch.array('activations', Float32Array, elements, this.output.transport === 'shared')
  }

  /** The caller's, unless it is copied at the end. */
  #outputArray(elements: number): Float32Array {
    const { transport, sharedOutput, plainOutput } = this.output
    return plainOutput ? this.#scratchArray(elements) : this.ledger.array('output', Float32Array, elements, sharedOutput || transport === 'shared')
  }

  result(output: StageBuffer): Float32Array {
    const data = dataOf(output) as Float32Array
    if (!this.output.plainOutput || !isShared(data)) return data
    const copy = this.ledger.array('output', Float32Array, data.length, false)
    copy.set(data)
    return copy
  }

  release(): void {
    for (const buffer of this.#slotOf.keys()) buffer.data = null
  }
}
