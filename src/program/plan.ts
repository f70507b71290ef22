import { sumOfBytes, type BytesByPurpose } from '../core/ledger.ts'
import { isShared } from '../core/shared-memory.ts'
import type { Transport } from '../plan/transport.ts'
import { chooseCandidate } from '../plan/choose-candidate.ts'
import { SMALLEST_TASK_FLOPS, stageChunkRows } from '../plan/chunk-rows.ts'
import { formatBytes, formatCount } from '../plan/explain.ts'
import { mayRunBeside } from '../plan/lane-bytes.ts'
import { matchKept } from '../plan/kept-buffers.ts'
import { stageArenaBytes } from '../plan/stage-arena.ts'
import type { TaskArray } from '../protocol/task.ts'
import { memoryKey } from '../scheduler/operands.ts'
import type { LaneFacts } from '../scheduler/lane-facts.ts'
import type { ProgramHost, ProgramRuntime } from './host.ts'
import { elementsOf } from './operation.ts'
import { optionArrays } from './operations/attend.ts'
import type { Kept } from './kept.ts'
import type { Program } from './partition.ts'
import { isSumming } from './pass-job.ts'
import { sumScratchBytes } from './bind-gradients.ts'
import { claimCount } from './claims.ts'
import { isRowStage, type RowStage } from './stage.ts'
import { assignSlots, externalValues, handedSlots } from './slots.ts'
import {
  batchCopyBytes,
  packedWeightBytes,
  rawWeightBytes,
  rowBufferBytes,
  stageChunkRowsOf,
  stageFlops,
  stageLaneBytes,
  transferredRowBytes,
} from './stage-sizes.ts'

/** What a run of layers will do and hold, computed by arithmetic alone before anything runs. */
export interface LayerPlan {
  /** how many stages and attention operations the program has */
  readonly stages: number
  /** the most rows per task */
  readonly chunkRows: number
  /** lanes that take part */
  readonly lanes: number
  /** whether tasks may run in turns with those of calls that are under way: each lane then holds a second arena */
  readonly mayRunBeside: boolean
  /** whether threads share the inputs, or copies are transferred */
  readonly transport: Transport
  /** multiply-adds count as two; pairs hidden by position are not counted */
  readonly flops: number
  /** bytes that Heddle allocates, by purpose */
  readonly bytes: BytesByPurpose
  /** their sum: the peak of the counting allocator is never above it */
  readonly totalBytes: number
  /** the part that a memory budget limits: everything but the output */
  readonly budgetedBytes: number
  /** the memory budget; undefined where there is none */
  readonly budgetBytes: number | undefined
  /** raw weights that each lane keeps its own copies of, where memory is not shared */
  readonly lastingLimitBytes: number
  /** packed weights that each lane may hold: fewer than the model has where the budget is tight */
  readonly residentLimitBytes: number
  /** row buffers, attention's output of a chunk and scratch of the stage that needs most, in each lane */
  readonly registerBytes: number
  /**
   * what gradients keep of the forward pass beside each block's input and attention's output; the rest is computed
   * again
   */
  readonly keeps?: Kept
  /** The plan as lines for a terminal. */
  explain(): string
}

export interface PlanOptions {
  readonly chunkSize: number | undefined
  /** how many results, from the first, are copied out of shared memory at the end */
  readonly plainResults: number
}

type Way = 'pass' | 'tasks' | 'alone'

/**
 * How a program runs. 'pass': lanes divide the chunks of all stages among themselves, over memory that all of them see,
 * and no device keeps copies. 'tasks': the scheduler places every chunk. 'alone': one lane does it all, as gradients
 * without shared memory.
 */
export function wayOf({ stages }: Program, { transport, pool }: ProgramHost): Way {
  if (stages.some(isSumming)) return transport === 'transfer' ? 'alone' : 'pass'
  return transport !== 'transfer' && pool.lanes().every(({ kind }) => kind === 'wasm') ? 'pass' : 'tasks'
}

/** The calling thread has done a stage below that sooner than a message reaches a worker. */
const TINY_STAGE_FLOPS = SMALLEST_TASK_FLOPS / 4

/** Whether every stage is so small; a chunk size that was asked for is a wish for tasks. */
export function isTiny({ stages }: Program, chunkSize: number | undefined): boolean {
  return chunkSize === undefined && stages.every((stage) => stageFlops(stage) < TINY_STAGE_FLOPS)
}

/** Plans of a program, by what they depend on beside the program itself. */
const known = new WeakMap<Program, Map<string, LayerPlan>>()
/** A program that runs again and again has a plan for its first runs, while lanes grow, and one for all later ones. */
const MOST_PLANS = 4

/**
 * Arithmetic over all stages; a program that runs again on the same lanes finds the plan that it had before.
 *
 * @throws {MemoryBudgetError} when nothing fits the budget; says which one would do
 */
export function planProgram(program: Program, runtime: ProgramRuntime, options: PlanOptions): LayerPlan {
  const host = runtime.stageHost(isTiny(program, options.chunkSize))
  const plans = known.get(program) ?? new Map<string, LayerPlan>()
  known.set(program, plans)
  const key = JSON.stringify([options, hostFacts(host)])
  const plan = plans.get(key) ?? makePlan(program, host, options)
  plans.delete(key)
  plans.set(key, plan)
  const [oldest] = plans.keys()
  if (plans.size > MOST_PLANS && oldest !== undefined) plans.delete(oldest)
  return plan
}

/** What a plan depends on beside the program: lanes, limits and the memory that earlier calls left. */
export function hostFacts({ transport, budgetBytes, scratch, pool }: ProgramHost): string {
  return JSON.stringify([transport, budgetBytes, scratch.sizes.sort((a, b) => a - b), pool.lanes()])
}

function makePlan(program: Program, host: ProgramHost, options: PlanOptions): LayerPlan {
  const keptBytes = matchKept(scratchBytes(program, host.transport, options.plainResults), host.scratch.sizes).leftBytes
  const { budgetBytes, budgetSource } = host
  const results = ['output', 'details'] as const
  const plan = chooseCandidate(allCandidates(program, host, options), {
    what: 'layer',
    budgetBytes,
    budgetSource,
    keptBytes,
    results,
  })
  return { ...plan, explain: () => explain(plan) }
}

/** For a run that keeps to the first bench of each lane. */
function onFirstBench(host: ProgramHost): ProgramHost {
  const { pool } = host
  return {
    ...host,
    pool: { run: (job) => pool.run(job), lanes: () => pool.lanes().map((lane) => ({ ...lane, mayRunBeside: false })) },
  }
}

type Candidate = Omit<LayerPlan, 'totalBytes' | 'explain'>
type WeightLimits = Pick<LayerPlan, 'residentLimitBytes' | 'lastingLimitBytes'>

/** From the fastest to the smallest, then the same on the first bench of each lane alone. */
function* allCandidates(program: Program, host: ProgramHost, options: PlanOptions): Generator<Candidate> {
  yield* candidates(program, host, options)
  if (mayRunBeside(host.pool.lanes())) yield* candidates(program, onFirstBench(host), options)
}

/** From the fastest to the smallest: first fewer weights that stay, then fewer rows per chunk, then fewer lanes. */
function* candidates(program: Program, host: ProgramHost, options: PlanOptions): Generator<Candidate> {
  const { stages } = program
  const way = wayOf(program, host)
  const all = { residentLimitBytes: packedWeightBytes(stages), lastingLimitBytes: rawWeightBytes(stages) }
  let fewest: WeightLimits | undefined // asked for only where `all` is too much
  for (let lanes = way === 'alone' ? 1 : host.pool.lanes().length; lanes >= 1; lanes = Math.floor(lanes / 2)) {
    const automatic = chunkRowsOf(program, options.chunkSize, lanes, host)
    for (let chunkRows = automatic; ; chunkRows = Math.max(8, Math.floor(chunkRows / 2))) {
      yield planOf(program, host, options, { lanes, chunkRows, ...all })
      fewest ??= {
        residentLimitBytes: stages.reduce((largest, stage) => Math.max(largest, packedWeightBytes([stage])), 0),
        lastingLimitBytes: stages.reduce((largest, stage) => Math.max(largest, rawWeightBytes([stage])), 0),
      }
      if (fewest.residentLimitBytes < all.residentLimitBytes)
        yield planOf(program, host, options, { lanes, chunkRows, ...fewest })
      if (options.chunkSize !== undefined || chunkRows <= 8) break
    }
  }
}

/** Rows of a chunk: of the flat rows where lanes see all memory, else of each sequence. */
function chunkRowsOf(program: Program, chunkSize: number | undefined, lanes: number, host: ProgramHost): number {
  if (chunkSize !== undefined) return chunkSize
  const flat = wayOf(program, host) !== 'tasks'
  return program.stages.filter(isRowStage).reduce((largest, stage) => {
    const all = stage.batch * stage.rows
    const flopsPerRow = stageFlops(stage) / Math.max(1, all)
    const rows = flat
      ? stageChunkRows(1, all, flopsPerRow, lanes, true)
      : stageChunkRows(stage.batch, stage.rows, flopsPerRow, lanes, host.transport !== 'transfer')
    return Math.max(largest, rows)
  }, 1)
}

interface Choice extends WeightLimits {
  readonly lanes: number
  readonly chunkRows: number
}

function planOf(program: Program, host: ProgramHost, options: PlanOptions, choice: Choice): Candidate {
  const { stages } = program
  const { lanes, chunkRows, residentLimitBytes, lastingLimitBytes } = choice
  const { transport } = host
  const way = wayOf(program, host)
  const largestRegisters = stages.reduce(
    (largest, stage) =>
      isRowStage(stage)
        ? Math.max(largest, rowBufferBytes(stage, stageChunkRowsOf(stage, chunkRows)), sumScratchBytes(stage))
        : largest,
    0,
  )
  const bytes = bytesOf(program, host, options, choice, largestRegisters)
  return {
    stages: stages.length,
    chunkRows: Math.min(
      chunkRows,
      Math.max(1, ...stages.map(({ batch, rows }) => (way === 'tasks' ? rows : batch * rows))),
    ),
    lanes,
    mayRunBeside: mayRunBeside(host.pool.lanes()),
    transport,
    flops: stages.reduce((sum, stage) => sum + stageFlops(stage), 0),
    bytes,
    budgetedBytes: sumOfBytes(bytes) - bytes.output - bytes.details,
    budgetBytes: host.budgetBytes,
    residentLimitBytes,
    lastingLimitBytes,
    registerBytes: largestRegisters,
    ...(program.keeps === undefined ? {} : { keeps: program.keeps }),
  }
}

function bytesOf(program: Program, host: ProgramHost, options: PlanOptions, choice: Choice, largestRegisters: number) {
  const { stages, results } = program
  const { lanes, chunkRows, residentLimitBytes, lastingLimitBytes } = choice
  const { transport } = host
  const way = wayOf(program, host)
  const rowStages = stages.filter(isRowStage)
  const [output, ...details] = results.map((value) => elementsOf(value) * 4)
  const copies = inputCopies(program, transport).reduce((total, count) => total + count, 0)
  const inFlight = (stage: RowStage): number => lanes * Math.min(chunkRows, stage.rows) * transferredRowBytes(stage)
  const laneCopies = { tasks: lanes * Math.max(0, ...rowStages.map(batchCopyBytes)), alone: copies, pass: 0 }[way]
  return {
    output: output ?? 0,
    details: details.reduce((sum, count) => sum + count, 0),
    activations: activationBytes(program, options, way === 'alone'),
    'input copies': transport === 'shared' ? copies : 0,
    'lane arenas': heldBytes(
      host,
      way,
      ({ residentBytes }) => residentBytes,
      (lane) => stageLaneBytes(program, lane, chunkRows, stageArenaBytes(largestRegisters + residentLimitBytes)),
    ),
    'lane copies':
      transport === 'transfer' ? laneCopies + lastingBytes(host, way, lastingLimitBytes) : lastingBytes(host, way, 0),
    'in flight': way === 'tasks' && transport === 'transfer' ? Math.max(0, ...rowStages.map(inFlight)) : 0,
    claims: way === 'pass' ? claimCount(stages, chunkRows) * 4 : 0,
  }
}

/** Slots between the stages; the results' own slots count as results, unless the output is copied out at the end. */
function activationBytes(program: Program, { plainResults }: PlanOptions, alone: boolean): number {
  const { slots, slotOf } = assignSlots(program)
  const all = slots.reduce((sum, slot) => sum + slot.elements * 4, 0)
  const owned = program.results.filter((value, index) => slotOf.has(value) && (alone || index >= plainResults))
  return owned.reduce((sum, value) => sum - elementsOf(value) * 4, all)
}

/** Bytes of each array of shared memory that a run makes for itself: all but what is handed on. */
export function scratchBytes(program: Program, transport: Transport, plainResults: number): number[] {
  if (transport !== 'shared') return []
  const { slots } = assignSlots(program)
  const handed = handedSlots(program, plainResults)
  return [
    ...inputCopies(program, transport),
    ...slots.filter((_, slot) => !handed.has(slot)).map(({ elements }) => elements * 4),
  ]
}

/** Bytes of each input that lanes do not see yet: what the caller or a layer brings, and attention's options. */
function inputCopies(program: Program, transport: Transport): number[] {
  const { bindings } = program.graph
  const external = externalValues(program)
  const unknown = external.filter((value) => !bindings.has(value)).map((value) => elementsOf(value) * 4)
  const arrays: TaskArray[] = external.flatMap((value) => bindings.get(value) ?? [])
  const options = program.stages
    .filter(isRowStage)
    .flatMap(({ attend }) => (attend === null ? [] : optionArrays(attend)))
  const unseen = [...arrays, ...options].filter((array) => transport === 'transfer' || !isShared(array))
  return [...unknown, ...new Map(unseen.map((array) => [memoryKey(array), array.byteLength])).values()]
}

/** Weights that stay with the lanes: those of this run in place of others, or what they hold already. */
function lastingBytes(host: ProgramHost, way: Way, limitBytes: number): number {
  return heldBytes(
    host,
    way,
    (lane) => lane.lastingBytes,
    (lane) => Math.max(limitBytes, lane.lastingBytes),
  )
}

/** What all lanes hold: any of them may come to hold more than before, but only one where one does it all. */
function heldBytes(
  { pool }: ProgramHost,
  way: Way,
  before: (lane: LaneFacts) => number,
  during: (lane: LaneFacts) => number,
): number {
  const lanes = pool.lanes()
  const growth = lanes.map((lane) => during(lane) - before(lane))
  return (
    lanes.reduce((sum, lane) => sum + before(lane), 0) +
    (way === 'alone' ? Math.max(0, ...growth) : growth.reduce((sum, bytes) => sum + bytes, 0))
  )
}

function explain(plan: Omit<LayerPlan, 'explain'>): string {
  const lines = [
    `a run of ${plan.stages} stage${plan.stages === 1 ? '' : 's'}`,
    `  work    ${formatCount(plan.flops)}FLOP in chunks of up to ${plan.chunkRows} rows`,
    `  lanes   ${plan.lanes} (${plan.transport})`,
    `  memory  ${formatBytes(plan.totalBytes)} in all`,
    ...Object.entries(plan.bytes).map(
      ([purpose, bytes]) => `    ${purpose.padEnd(15)} ${formatBytes(bytes).padStart(10)}`,
    ),
  ]
  if (plan.budgetBytes !== undefined)
    lines.push(
      `  budget  ${formatBytes(plan.budgetedBytes)} of ${formatBytes(plan.budgetBytes)} (the output is not counted)`,
    )
  return lines.join('\n')
}
