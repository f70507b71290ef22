import { MemoryBudgetError, tensor, type AttentionReport, type Runtime, type Tensor } from '../../index.ts'
import { caseKey, MODES, type BenchCase, type BenchSetting } from './bench-case.ts'
import { normalValues } from './normal-values.ts'
import { worstDifference } from './reference-rows.ts'
import { spreadOf, type Spread } from './spread.ts'
import { timeTasks } from './time-tasks.ts'

/** One timed case. */
export interface BenchResult extends BenchCase, Spread {
  readonly gigaflopsPerSecond: number
  /** peak of the counting allocator */
  readonly peakBytes: number
  readonly kernels: string
  /** largest |found − float64 reference| over the rows that were checked */
  readonly worstError: number
}

/** A case that was left out, and why. */
export interface SkippedCase extends BenchCase {
  readonly reason: string
}

export interface MeasureOptions {
  /** time for all calls of one case */
  readonly caseMs: number
  readonly signal: AbortSignal
  /** looked at before each mode is run: a reason leaves it out */
  readonly skip: (candidate: BenchCase, runtime: Runtime) => string | undefined
}

export interface SettingOutcome {
  readonly results: readonly BenchResult[]
  readonly skipped: readonly SkippedCase[]
}

interface Checked extends BenchCase {
  readonly firstMs: number
  readonly report: AttentionReport
  readonly worstError: number
}

const ROUNDS = 4
const MAX_ITERATIONS = 400
/** For values of a normal distribution; DESIGN's own rule is held by the test suite, this one finds wrong answers. */
const TOLERANCE = 2e-5
const CHECKED_ROWS = 8

/** Checks both modes against a float64 reference, then times them in turns. @throws {Error} when an answer is wrong */
export async function measureSetting(
  runtime: Runtime,
  setting: BenchSetting,
  options: MeasureOptions,
): Promise<SettingOutcome> {
  const inputs = makeInputs(runtime, setting)
  const checked: Checked[] = []
  const skipped: SkippedCase[] = []
  for (const mode of MODES) {
    const candidate = { mode, ...setting }
    const outcome = await checkCase(runtime, candidate, inputs, options)
    if (typeof outcome === 'string') skipped.push({ ...candidate, reason: outcome })
    else checked.push(outcome)
  }
  if (checked.length === 0) return { results: [], skipped }
  const slowest = Math.max(...checked.map(({ firstMs }) => firstMs))
  const iterations = Math.max(
    slowest > options.caseMs ? 1 : 3,
    Math.min(MAX_ITERATIONS, Math.floor(options.caseMs / slowest)),
  )
  const tasks = checked.map((candidate) => ({
    name: candidate.mode,
    run: () => runtime.attention(inputs, { mode: candidate.mode, causal: candidate.causal, signal: options.signal }),
  }))
  const samples = await timeTasks(tasks, { iterations, rounds: ROUNDS, signal: options.signal })
  return { results: checked.map((candidate) => resultOf(candidate, samples.get(candidate.mode) ?? [])), skipped }
}

function resultOf(
  { firstMs: _, report, worstError, ...candidate }: Checked,
  samplesMs: readonly number[],
): BenchResult {
  const spread = spreadOf(samplesMs)
  return {
    ...candidate,
    ...spread,
    gigaflopsPerSecond: report.plan.flops / spread.medianMs / 1e6,
    peakBytes: report.memory.peakBytes,
    kernels: [...new Set(report.lanes.map((lane) => lane.kernels))].join(', '),
    worstError,
  }
}

interface Inputs {
  readonly query: Tensor
  readonly key: Tensor
  readonly value: Tensor
}

/** Shared where the host has shared memory: copies of inputs are no part of what is compared. */
function makeInputs(runtime: Runtime, { tokens, heads, headSize }: BenchSetting): Inputs {
  const make = (seed: number): Tensor => {
    const made = runtime.tensor([1, heads, tokens, headSize])
    made.data.set(normalValues(made.data.length, seed))
    return tensor(made.data, made.shape)
  }
  return { query: make(1), key: make(2), value: make(3) }
}

/** Twice, since a lane's first calls run before its kernels are optimised; rows of the second are checked. */
async function checkCase(
  runtime: Runtime,
  candidate: BenchCase,
  inputs: Inputs,
  { signal, skip }: MeasureOptions,
): Promise<Checked | string> {
  const { mode, causal } = candidate
  const reason = skip(candidate, runtime)
  if (reason !== undefined) return reason
  try {
    await runtime.attention(inputs, { mode, causal, signal })
    const startMs = performance.now()
    const { output, report } = await runtime.attention(inputs, { mode, causal, signal })
    const firstMs = performance.now() - startMs
    const worstError = worstRow(candidate, inputs, output)
    if (worstError > TOLERANCE)
      throw new Error(
        `bench: ${caseKey(candidate)}: expected the reference's values, got a difference of ${worstError}`,
      )
    return { ...candidate, firstMs, report, worstError }
  } catch (error) {
    if (error instanceof MemoryBudgetError) return `does not fit: ${error.message}`
    throw error
  }
}

function worstRow(setting: BenchSetting, { query, key, value }: Inputs, output: Tensor): number {
  const { tokens, heads, headSize, causal } = setting
  const data = { query: query.data, key: key.data, value: value.data, output: output.data }
  const places = Array.from({ length: CHECKED_ROWS }, (_, step) => ({
    head: step % heads,
    row: Math.floor(((tokens - 1) * step) / (CHECKED_ROWS - 1)),
  }))
  return worstDifference({ ...data, tokens, headSize, causal }, places)
}
