import { memoryKey } from '../../scheduler/operands.ts'
import { MemoryBudgetError } from '../../core/errors.ts'
import { isShared } from '../../core/shared-memory.ts'
import { sumOfBytes, type BytesByPurpose } from '../../core/ledger.ts'
import type { Transport } from '../../plan/attention-plan.ts'
import { SMALLEST_TASK_FLOPS, stageChunkRows } from '../../plan/chunk-rows.ts'
import { formatBytes, formatCount } from '../../plan/explain.ts'
import { affordableKept, matchKept } from '../../plan/kept-buffers.ts'
import { linearScratchBytes, registerBytes, residentWeightBytes, stageArenaBytes } from '../../plan/stage-arena.ts'
import { stageLaneBytes } from './lane-bytes.ts'
import { assignSlots, isStage, type StageProgram } from './program.ts'
import type { Stage } from './stage-builder.ts'
import type { LayerRuntime, StageHost } from './stage-host.ts'
import { claimCount } from './pass-job.ts'
import { chunkFlops, transferredRowBytes } from './stage-job.ts'
import { distinctWeights } from './stage-binder.ts'

/** What a forward pass will do and hold, computed by arithmetic alone before anything runs. */
export interface LayerPlan {
  /** stages and attention calls */
  readonly parts: number
  /** the most rows a task */
  readonly chunkRows: number
  readonly lanes: number
  readonly transport: Transport
  /** multiply-adds count as two; pairs hidden by position are not counted */
  readonly flops: number
  /** bytes that Heddle allocates, by purpose */
  readonly bytes: BytesByPurpose
  /** their sum: the peak of the counting allocator is never above it */
  readonly totalBytes: number
  /** the part that a memory budget limits: all but the output */
  readonly budgetedBytes: number
  readonly budgetBytes: number | undefined
  /** raw weights a lane keeps its own copies of, where memory is not shared */
  readonly lastingLimitBytes: number
  /** packed weights a lane may hold: fewer than the model has where the budget is tight */
  readonly residentLimitBytes: number
  /** row buffers, attention's output of a chunk and scratch of the stage that needs most, in each lane */
  readonly registerBytes: number
  /** The plan as lines for a terminal. */
  explain(): string
}

export interface PlanLayerOptions {
  readonly chunkSize: number | undefined
  /** whether the result is copied out of shared memory at the end */
  readonly plainOutput: boolean
}

/** Whether lanes divide the chunks of a pass among themselves: over memory that all of them see, and no device keeps copies. */
export function runsAsPass({ transport, pool }: StageHost): boolean {
  return transport !== 'transfer' && pool.lanes().every(({ kind }) => kind === 'wasm')
}

/** A stage below that is done sooner by the calling thread than a message reaches a worker. */
const TINY_STAGE_FLOPS = SMALLEST_TASK_FLOPS / 4

/** Whether every stage is so small; a chunk size that was asked for is a wish for tasks. */
export function isTiny({ parts }: StageProgram, chunkSize: number | undefined): boolean {
  return chunkSize === undefined && parts.every((part) => (isStage(part) ? stageFlops(part) : part.flops) < TINY_STAGE_FLOPS)
}

/** @throws {MemoryBudgetError} when nothing fits the budget; says which one would do */
export function planProgram(program: StageProgram, runtime: LayerRuntime, options: PlanLayerOptions): LayerPlan {
  const host = runtime.stageHost(isTiny(program, options.chunkSize))
  const callBytes = Math.max(0, ...program.parts.map((part) => (isStage(part) ? 0 : part.bytes(runtime))))
  const keptBytes = matchKept(scratchBytes(program, host.transport, options.plainOutput), host.scratch.sizes).leftBytes
  let smallest: Candidate | undefined
  for (const candidate of candidates(program, host, { ...options, callBytes })) {
    const affordable = affordableKept(candidate, keptBytes, host.budgetBytes)
    if (affordable !== undefined) return finishPlan(affordable)
    if (smallest === undefined || candidate.budgetedBytes < smallest.budgetedBytes) smallest = candidate
  }
  const needed = smallest?.budgetedBytes ?? 0
  throw new MemoryBudgetError(`layer: expected ${host.budgetSource} of at least ${needed} bytes, got ${host.budgetBytes}`, {
    details: { smallestBudgetBytes: needed, budgetBytes: host.budgetBytes, bytes: smallest?.bytes },
  })
}

type Candidate = Omit<LayerPlan, 'totalBytes' | 'explain'>

interface CandidateOptions extends PlanLayerOptions {
  readonly callBytes: number
}

/** From the fastest to the smallest: first fewer weights that stay, then fewer rows a chunk, then fewer lanes. */
function* candidates(program: StageProgram, host: StageHost, options: CandidateOptions): Generator<Candidate> {
  const stages = program.parts.filter(isStage)
  const all = { residentLimitBytes: weightBytes(stages), lastingLimitBytes: rawWeightBytes(stages) }
  let fewest: typeof all | undefined // asked for only where `all` is too much
  for (let lanes = host.pool.lanes().length; lanes >= 1; lanes = Math.floor(lanes / 2)) {
    const automatic = chunkRowsOf(stages, options.chunkSize, lanes, host.transport !== 'transfer')
    for (let chunkRows = automatic; ; chunkRows = Math.max(8, Math.floor(chunkRows / 2))) {
      yield planOf(program, stages, host, options, lanes, chunkRows, all)
      fewest ??= {
        residentLimitBytes: stages.reduce((largest, stage) => Math.max(largest, weightBytes([stage])), 0),
        lastingLimitBytes: stages.reduce((largest, stage) => Math.max(largest, rawWeightBytes([stage])), 0),
      }
      if (fewest.residentLimitBytes < all.residentLimitBytes) yield planOf(program, stages, host, options, lanes, chunkRows, fewest)
      if (options.chunkSize !== undefined || chunkRows <= 8) break
    }
  }
}

function chunkRowsOf(stages: readonly Stage[], chunkSize: number | undefined, lanes: number, sharedMemory: boolean): number {
  if (chunkSize !== undefined) return chunkSize
  return stages.reduce((largest, stage) => {
    const rows = Math.max(1, stage.batch * stage.rows)
    return Math.max(largest, stageChunkRows(stage.batch, stage.rows, stageFlops(stage) / rows, lanes, sharedMemory))
  }, 1)
}

function stageFlops(stage: Stage): number {
  let flops = 0
  for (let batch = 0; batch < stage.batch; batch++) flops += chunkFlops(stage, { batch, rowStart: 0, rows: stage.rows })
  return flops
}

/** Distinct weights of these stages, packed. */
function weightBytes(stages: readonly Stage[]): number {
  return distinctWeights(stages.flatMap((stage) => stage.weights)).reduce((sum, part) => sum + residentWeightBytes(part), 0)
}

function planOf(
  program: StageProgram, stages: readonly Stage[], host: StageHost, options: CandidateOptions, lanes: number, chunkRows: number, limits: Pick<LayerPlan, 'residentLimitBytes' | 'lastingLimitBytes'>,
): Candidate {
  const { transport } = host
  const { residentLimitBytes, lastingLimitBytes } = limits
  const largestRegisters = stages.reduce((largest, stage) => Math.max(largest, rowBufferBytes(stage, chunkRows)), 0)
  const bytes = {
    output: program.output.elements * 4,
    activations: activationBytes(program, options),
    'input copies': transport === 'shared' ? inputCopies(program).reduce((total, count) => total + count, 0) : 0,
    'lane arenas': stageLaneBytes(stages, host.pool.lanes(), chunkRows, stageArenaBytes(largestRegisters + residentLimitBytes)),
    'lane copies': transport === 'transfer' ? lanes * keyCopyBytes(stages) + lastingBytes(host, lastingLimitBytes) : lastingBytes(host, 0),
    'in flight': transport === 'transfer' ? Math.max(0, ...stages.map((stage) => lanes * Math.min(chunkRows, stage.rows) * transferredRowBytes(stage))) : 0,
    'attention calls': options.callBytes,
    claims: runsAsPass(host) ? claimCount(stages, chunkRows) * 4 : 0,
  }
  return {
    parts: program.parts.length,
    chunkRows: Math.min(chunkRows, Math.max(1, ...stages.map((stage) => stage.rows))),
    lanes,
    transport,
    flops: program.parts.reduce((sum, part) => sum + (isStage(part) ? stageFlops(part) : part.flops), 0),
    bytes,
    budgetedBytes: sumOfBytes(bytes) - bytes.output,
    budgetBytes: host.budgetBytes,
    ...limits,
    registerBytes: largestRegisters,
  }
}

function finishPlan(candidate: Candidate): LayerPlan {
  const bytes = Object.fromEntries(Object.entries(candidate.bytes).filter(([, count]) => count > 0))
  const plan = { ...candidate, bytes, totalBytes: sumOfBytes(bytes) }
  return { ...plan, explain: () => explain(plan) }
}

/** Registers of a tile, attention's output of a chunk, and what linear layers need beside them. */
function rowBufferBytes({ registers, attention, rows, weights }: Stage, chunkRows: number): number {
  const context = attention === null ? 0 : registerBytes([attention.width], Math.min(chunkRows, rows))
  return registerBytes(registers) + context + weights.reduce((most, { inSize }) => Math.max(most, linearScratchBytes(inSize)), 0)
}

/** Slots between the parts; the output's own slot counts as output unless it is copied out at the end. */
function activationBytes(program: StageProgram, { plainOutput }: PlanLayerOptions): number {
  const { slots, slotOf } = assignSlots(program)
  const all = slots.reduce((sum, slot) => sum + slot.elements * 4, 0)
  return plainOutput || !slotOf.has(program.output) ? all : all - program.output.elements * 4
}

/** Bytes of each array of shared memory that a pass makes for itself: all but an output that is handed on. */
export function scratchBytes(program: StageProgram, transport: Transport, plainOutput: boolean): number[] {
  if (transport !== 'shared') return []
  const { slots, slotOf } = assignSlots(program)
  const output = plainOutput ? undefined : slotOf.get(program.output)
  return [...inputCopies(program), ...slots.filter((_, slot) => slot !== output).map(({ elements }) => elements * 4)]
}

/** Bytes of each input that is not in shared memory yet: what the caller or a layer brings, and attention's options. */
function inputCopies({ parts }: StageProgram): number[] {
  const buffers = new Set(parts.flatMap((part) => part.reads).filter((buffer) => buffer.external))
  const unknown = [...buffers].filter(({ data }) => data === null).map(({ elements }) => elements * 4)
  const arrays = [...buffers].flatMap(({ data }) => (data === null ? [] : [data]))
  const options = parts.flatMap((part) => (isStage(part) ? (part.attention?.optionArrays ?? []) : []))
  const plain = new Map([...arrays, ...options].filter((array) => !isShared(array)).map((array) => [memoryKey(array), array.byteLength]))
  return [...unknown, ...plain.values()]
}

/** Keys and values that one lane gets as its own copies, of the stage that needs most. */
function keyCopyBytes(stages: readonly Stage[]): number {
  return stages.reduce((largest, { attention }) => Math.max(largest, attention?.keyCopyBytes ?? 0), 0)
}

/** Weights that stay with the lanes: those of this pass in place of others, or what they hold already. */
function lastingBytes(host: StageHost, limitBytes: number): number {
  return host.pool.lanes().reduce((total, lane) => total + Math.max(limitBytes, lane.lastingBytes), 0)
}

/** Parameters of these stages, each once. */
function rawWeightBytes(stages: readonly Stage[]): number {
  const parameters = new Set([...stages.flatMap((stage) => stage.weights.map(({ parameter }) => parameter)), ...stages.flatMap((stage) => stage.tables)])
  return [...parameters].reduce((total, parameter) => total + parameter.data.byteLength, 0)
}

function explain(plan: Omit<LayerPlan, 'explain'>): string {
  const lines = [
    `forward pass in ${plan.parts} part${plan.parts === 1 ? '' : 's'}`,
    `  work    ${formatCount(plan.flops)}FLOP in chunks of up to ${plan.chunkRows} rows`,
    `  lanes   ${plan.lanes} (${plan.transport})`,
    `  memory  ${formatBytes(plan.totalBytes)} in all`,
    ...Object.entries(plan.bytes).map(([purpose, bytes]) => `    ${purpose.padEnd(15)} ${formatBytes(bytes).padStart(10)}`),
  ]
  if (plan.budgetBytes !== undefined) lines.push(`  budget  ${formatBytes(plan.budgetedBytes)} of ${formatBytes(plan.budgetBytes)} (the output is not counted)`)
  return lines.join('\n')
}
