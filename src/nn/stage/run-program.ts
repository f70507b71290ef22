import type { AttentionResult } from '../../attention/attention-options.ts'
import { SharedCopies } from '../../attention/operands.ts'
import { Ledger, type ArraySource, type BytesByPurpose } from '../../core/ledger.ts'
import { isShared } from '../../core/shared-memory.ts'
import type { Transport } from '../../plan/attention-plan.ts'
import { KEPT_PURPOSE } from '../../plan/kept-buffers.ts'
import type { Fallback } from '../../protocol/messages.ts'
import type { LaneShare } from '../../scheduler/job.ts'
import { dataOf, type StageBuffer } from './buffers.ts'
import { assignSlots, isStage, type ProgramPart, type StageProgram } from './program.ts'
import { isTiny, planProgram, scratchBytes, type LayerPlan } from './program-plan.ts'
import type { LayerRuntime } from './stage-host.ts'
import { StageJob } from './stage-job.ts'

/** How a forward pass was run. */
export interface LayerReport {
  readonly plan: LayerPlan
  readonly elapsedMs: number
  /** the lanes that did a part of it, one entry a stage and lane */
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
  const copies = new SharedCopies(scratch)
  const memory = new SlotMemory(program, { transport: host.transport, sharedOutput: options.sharedOutput, plainOutput }, ledger, scratch)
  const [attention, shares, fallbacks]: [AttentionResult[], LaneShare[], Fallback[]] = [[], [], []]
  let retries = 0
  let clean = false
  try {
    for (const part of program.parts) {
      memory.prepare(part.writes.map(({ buffer }) => buffer))
      if (isStage(part)) {
        const outcome = await host.pool.run(new StageJob(part, { ...plan, transport: host.transport, signal: options.signal }, ledger, copies))
        shares.push(...outcome.lanes)
        fallbacks.push(...outcome.fallbacks)
        retries += outcome.retries
      } else {
        const bytes = part.bytes(runtime)
        ledger.add('attention calls', bytes)
        attention.push(await part.run(runtime, options.signal))
        ledger.remove('attention calls', bytes)
      }
      options.onPart?.(part)
    }
    const data = memory.result(program.output)
    const { peakBytes, peakByPurpose } = ledger
    const report = { plan, elapsedMs: performance.now() - startMs, lanes: shares, retries, fallbacks, memory: { plannedBytes: plan.totalBytes, peakBytes, peakByPurpose } }
    clean = retries === 0 && attention.every((call) => call.report.retries === 0)
    return { data, attention, report }
  } finally {
    memory.release()
    scratch.release(clean)
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

  /** Gives these buffers their memory. */
  prepare(buffers: readonly StageBuffer[]): void {
    for (const buffer of buffers) {
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
