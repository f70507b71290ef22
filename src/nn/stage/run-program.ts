import type { AttentionResult } from '../../attention/attention-options.ts'
import { Ledger, type BytesByPurpose } from '../../core/ledger.ts'
import { isShared } from '../../core/shared-memory.ts'
import type { Fallback } from '../../protocol/messages.ts'
import type { LaneShare } from '../../scheduler/job.ts'
import { dataOf, type StageBuffer } from './buffers.ts'
import { assignSlots, isStage, type ProgramPart, type StageProgram } from './program.ts'
import { externalInputs, isTiny, planProgram, type LayerPlan } from './program-plan.ts'
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
  const restore = shareInputs(program, host.transport === 'shared', ledger)
  const memory = new SlotMemory(program, host.transport === 'shared' || options.sharedOutput, plainOutput, ledger)
  const [attention, shares, fallbacks]: [AttentionResult[], LaneShare[], Fallback[]] = [[], [], []]
  let retries = 0
  try {
    for (const part of program.parts) {
      memory.prepare(part.writes.map(({ buffer }) => buffer))
      if (isStage(part)) {
        const outcome = await host.pool.run(new StageJob(part, { ...plan, transport: host.transport, signal: options.signal }, ledger))
        shares.push(...outcome.lanes)
        fallbacks.push(...outcome.fallbacks)
        retries += outcome.retries
      } else {
        ledger.add('attention calls', part.bytes(runtime))
        attention.push(await part.run(runtime, options.signal))
        ledger.remove('attention calls', part.bytes(runtime))
      }
      options.onPart?.(part)
    }
    const data = memory.result(program.output)
    const { peakBytes, peakByPurpose } = ledger
    const report = { plan, elapsedMs: performance.now() - startMs, lanes: shares, retries, fallbacks, memory: { plannedBytes: plan.totalBytes, peakBytes, peakByPurpose } }
    return { data, attention, report }
  } finally {
    memory.release()
    restore()
  }
}

/** Copies plain inputs into shared memory, once for all parts. Returns what puts the caller's arrays back. */
function shareInputs(program: StageProgram, toShared: boolean, ledger: Ledger): () => void {
  if (!toShared) return () => undefined
  const plain = [...externalInputs(program)].filter((buffer) => !isShared(dataOf(buffer)))
  const originals = plain.map((buffer) => buffer.data)
  for (const buffer of plain) {
    const data = dataOf(buffer)
    const Class = data.constructor as typeof Float32Array
    const copy = ledger.array('input copies', Class, data.length, true)
    copy.set(data)
    buffer.data = copy
  }
  return () => plain.forEach((buffer, index) => (buffer.data = originals[index] as never))
}

/** The memory of the tensors between the parts. */
class SlotMemory {
  readonly #slotOf: ReadonlyMap<StageBuffer, number>
  readonly #arrays: (Float32Array | null)[]
  readonly #outputSlot: number | undefined

  constructor(
    program: StageProgram,
    private readonly shared: boolean,
    private readonly plainOutput: boolean,
    private readonly ledger: Ledger,
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
      const purpose = slot === this.#outputSlot && !this.plainOutput ? 'output' : 'activations'
      buffer.data = this.#arrays[slot] ??= this.ledger.array(purpose, Float32Array, buffer.elements, this.shared)
    }
  }

  result(output: StageBuffer): Float32Array {
    const data = dataOf(output) as Float32Array
    if (!this.plainOutput || !isShared(data)) return data
    const copy = this.ledger.array('output', Float32Array, data.length, false)
    copy.set(data)
    return copy
  }

  release(): void {
    for (const buffer of this.#slotOf.keys()) buffer.data = null
  }
}
