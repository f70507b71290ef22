import { MemoryBudgetError } from '../core/errors.ts'
import { sumOfBytes, type BytesByPurpose } from '../core/ledger.ts'
import { isShared } from '../core/shared-memory.ts'
import type { Transport } from '../plan/attention-plan.ts'
import { SMALLEST_TASK_FLOPS, stageChunkRows } from '../plan/chunk-rows.ts'
import { formatBytes, formatCount } from '../plan/explain.ts'
import { affordableKept, matchKept } from '../plan/kept-buffers.ts'
import { stageArenaBytes } from '../plan/stage-arena.ts'
import type { TaskArray } from '../protocol/task.ts'
import { memoryKey } from '../scheduler/operands.ts'
import type { ProgramHost, ProgramRuntime } from './host.ts'
import { elementsOf, type Value } from './operation.ts'
import { optionArrays } from './operations/attend.ts'
import type { Program, Stage } from './partition.ts'
import { claimCount } from './pass-job.ts'
import { assignSlots, externalValues } from './slots.ts'
import { keyCopyBytes, packedWeightBytes, rawWeightBytes, rowBufferBytes, stageFlops, stageLaneBytes, transferredRowBytes } from './stage-sizes.ts'

/** What a run of layers will do and hold, computed by arithmetic alone before anything runs. */
export interface LayerPlan {
  readonly stages: number
  /** the most rows per task */
  readonly chunkRows: number
  readonly lanes: number
  readonly transport: Transport
  /** multiply-adds count as two; pairs hidden by position are not counted */
  readonly flops: number
  /** bytes that Heddle allocates, by purpose */
  readonly bytes: BytesByPurpose
  /** their sum: the peak of the counting allocator is never above it */
  readonly totalBytes: number
  /** the part that a memory budget limits: everything but the output */
  readonly budgetedBytes: number
  readonly budgetBytes: number | undefined
  /** raw weights that each lane keeps its own copies of, where memory is not shared */
  readonly lastingLimitBytes: number
  /** packed weights that each lane may hold: fewer than the model has where the budget is tight */
  readonly residentLimitBytes: number
  /** row buffers, attention's output of a chunk and scratch of the stage that needs most, in each lane */
  readonly registerBytes: number
  /** The plan as lines for a terminal. */
  explain(): string
}

export interface PlanOptions {
  readonly chunkSize: number | undefined
  /** whether the result is copied out of shared memory at the end */
  readonly plainOutput: boolean
}

/** Whether lanes divide the chunks of all stages among themselves: over memory that all of them see, and no device keeps copies. */
export function runsAsPass({ transport, pool }: ProgramHost): boolean {
  return transport !== 'transfer' && pool.lanes().every(({ kind }) => kind === 'wasm')
}

/** The calling thread has done a stage below that sooner than a message reaches a worker. */
const TINY_STAGE_FLOPS = SMALLEST_TASK_FLOPS / 4

/** Whether every stage is so small; a chunk size that was asked for is a wish for tasks. */
export function isTiny({ stages }: Program, chunkSize: number | undefined): boolean {
  return chunkSize === undefined && stages.every((stage) => stageFlops(stage) < TINY_STAGE_FLOPS)
}

/** @throws {MemoryBudgetError} when nothing fits the budget; says which one would do */
export function planProgram(program: Program, runtime: ProgramRuntime, options: PlanOptions): LayerPlan {
  const host = runtime.stageHost(isTiny(program, options.chunkSize))
  const keptBytes = matchKept(scratchBytes(program, host.transport, options.plainOutput), host.scratch.sizes).leftBytes
  let smallest: Candidate | undefined
  for (const candidate of candidates(program, host, options)) {
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
type WeightLimits = Pick<LayerPlan, 'residentLimitBytes' | 'lastingLimitBytes'>

/** From the fastest to the smallest: first fewer weights that stay, then fewer rows per chunk, then fewer lanes. */
function* candidates(program: Program, host: ProgramHost, options: PlanOptions): Generator<Candidate> {
  const { stages } = program
  const all = { residentLimitBytes: packedWeightBytes(stages), lastingLimitBytes: rawWeightBytes(stages) }
  let fewest: WeightLimits | undefined // asked for only where `all` is too much
  for (let lanes = host.pool.lanes().length; lanes >= 1; lanes = Math.floor(lanes / 2)) {
    const automatic = chunkRowsOf(stages, options.chunkSize, lanes, host)
    for (let chunkRows = automatic; ; chunkRows = Math.max(8, Math.floor(chunkRows / 2))) {
      yield planOf(program, host, options, { lanes, chunkRows, ...all })
      fewest ??= {
        residentLimitBytes: stages.reduce((largest, stage) => Math.max(largest, packedWeightBytes([stage])), 0),
        lastingLimitBytes: stages.reduce((largest, stage) => Math.max(largest, rawWeightBytes([stage])), 0),
      }
      if (fewest.residentLimitBytes < all.residentLimitBytes) yield planOf(program, host, options, { lanes, chunkRows, ...fewest })
      if (options.chunkSize !== undefined || chunkRows <= 8) break
    }
  }
}

/** Rows of a chunk: of the flat rows where lanes see all memory, else of each sequence. */
function chunkRowsOf(stages: readonly Stage[], chunkSize: number | undefined, lanes: number, host: ProgramHost): number {
  if (chunkSize !== undefined) return chunkSize
  const flat = runsAsPass(host)
  return stages.reduce((largest, stage) => {
    const all = stage.batch * stage.rows
    const flopsPerRow = stageFlops(stage) / Math.max(1, all)
    const rows = flat ? stageChunkRows(1, all, flopsPerRow, lanes, true) : stageChunkRows(stage.batch, stage.rows, flopsPerRow, lanes, host.transport !== 'transfer')
    return Math.max(largest, rows)
  }, 1)
}

function planOf(program: Program, host: ProgramHost, options: PlanOptions, choice: WeightLimits & { readonly lanes: number; readonly chunkRows: number }): Candidate {
  const { stages, results } = program
  const { lanes, chunkRows, residentLimitBytes, lastingLimitBytes } = choice
  const { transport } = host
  const largestRegisters = stages.reduce((largest, stage) => Math.max(largest, rowBufferBytes(stage, chunkRows)), 0)
  const [output, ...details] = results.map((value) => elementsOf(value) * 4)
  const inFlight = (stage: Stage): number => lanes * Math.min(chunkRows, stage.rows) * transferredRowBytes(stage)
  const bytes = {
    output: output ?? 0,
    details: details.reduce((sum, count) => sum + count, 0),
    activations: activationBytes(program, options),
    'input copies': transport === 'shared' ? inputCopies(program).reduce((total, count) => total + count, 0) : 0,
    'lane arenas': stageLaneBytes(stages, host.pool.lanes(), chunkRows, stageArenaBytes(largestRegisters + residentLimitBytes)),
    'lane copies': transport === 'transfer' ? lanes * Math.max(0, ...stages.map(keyCopyBytes)) + lastingBytes(host, lastingLimitBytes) : lastingBytes(host, 0),
    'in flight': transport === 'transfer' ? Math.max(0, ...stages.map(inFlight)) : 0,
    claims: runsAsPass(host) ? claimCount(stages, chunkRows) * 4 : 0,
  }
  return {
    stages: stages.length,
    chunkRows: Math.min(chunkRows, Math.max(1, ...stages.map(({ batch, rows }) => (runsAsPass(host) ? batch * rows : rows)))),
    lanes,
    transport,
    flops: stages.reduce((sum, stage) => sum + stageFlops(stage), 0),
    bytes,
    budgetedBytes: sumOfBytes(bytes) - bytes.output - bytes.details,
    budgetBytes: host.budgetBytes,
    residentLimitBytes,
    lastingLimitBytes,
    registerBytes: largestRegisters,
  }
}

function finishPlan(candidate: Candidate): LayerPlan {
  const bytes = Object.fromEntries(Object.entries(candidate.bytes).filter(([, count]) => count > 0))
  const plan = { ...candidate, bytes, totalBytes: sumOfBytes(bytes) }
  return { ...plan, explain: () => explain(plan) }
}

/** Slots between the stages; the results' own slots count as results, unless the output is copied out at the end. */
function activationBytes(program: Program, { plainOutput }: PlanOptions): number {
  const { slots, slotOf } = assignSlots(program)
  const all = slots.reduce((sum, slot) => sum + slot.elements * 4, 0)
  const owned = program.results.filter((value, index) => slotOf.has(value) && !(plainOutput && index === 0))
  return owned.reduce((sum, value) => sum - elementsOf(value) * 4, all)
}

/** Bytes of each array of shared memory that a run makes for itself: all but what is handed on. */
export function scratchBytes(program: Program, transport: Transport, plainOutput: boolean): number[] {
  if (transport !== 'shared') return []
  const { slots } = assignSlots(program)
  const handed = handedSlots(program, plainOutput)
  return [...inputCopies(program), ...slots.filter((_, slot) => !handed.has(slot)).map(({ elements }) => elements * 4)]
}

/** Slots whose memory the caller gets. */
export function handedSlots(program: Program, plainOutput: boolean): Set<number> {
  const { slotOf } = assignSlots(program)
  return new Set(program.results.filter((_, index) => !(plainOutput && index === 0)).flatMap((value: Value) => slotOf.get(value) ?? []))
}

/** Bytes of each input that is not in shared memory yet: what the caller or a layer brings, and attention's options. */
function inputCopies(program: Program): number[] {
  const { bindings } = program.graph
  const external = externalValues(program)
  const unknown = external.filter((value) => !bindings.has(value)).map((value) => elementsOf(value) * 4)
  const arrays: TaskArray[] = external.flatMap((value) => bindings.get(value) ?? [])
  const options = program.stages.flatMap(({ attend }) => (attend === null ? [] : optionArrays(attend)))
  const plain = new Map([...arrays, ...options].filter((array) => !isShared(array)).map((array) => [memoryKey(array), array.byteLength]))
  return [...unknown, ...plain.values()]
}

/** Weights that stay with the lanes: those of this run in place of others, or what they hold already. */
function lastingBytes(host: ProgramHost, limitBytes: number): number {
  return host.pool.lanes().reduce((total, lane) => total + Math.max(limitBytes, lane.lastingBytes), 0)
}

function explain(plan: Omit<LayerPlan, 'explain'>): string {
  const lines = [
    `a run of ${plan.stages} stage${plan.stages === 1 ? '' : 's'}`,
    `  work    ${formatCount(plan.flops)}FLOP in chunks of up to ${plan.chunkRows} rows`,
    `  lanes   ${plan.lanes} (${plan.transport})`,
    `  memory  ${formatBytes(plan.totalBytes)} in all`,
    ...Object.entries(plan.bytes).map(([purpose, bytes]) => `    ${purpose.padEnd(15)} ${formatBytes(bytes).padStart(10)}`),
  ]
  if (plan.budgetBytes !== undefined) lines.push(`  budget  ${formatBytes(plan.budgetedBytes)} of ${formatBytes(plan.budgetBytes)} (the output is not counted)`)
  return lines.join('\n')
}
