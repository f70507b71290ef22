import { MemoryBudgetError, type Runtime, type Tensor } from '../../index.ts'
import { formatBytes } from '../../plan/explain.ts'
import { formatDuration, formatInteger } from '../terminal/format.ts'
import { availableMemoryBytes } from './resident-memory.ts'
import { attendWords, firstTokens, planWords, type Measurement } from './word-attention.ts'

export const SMALLEST_TOKENS = 1024
const REPEATS = 3
/** A call that takes longer than this is measured once. */
const REPEAT_BELOW_MS = 1000
/** The part of the free memory that a score matrix may take. */
const MEMORY_SHARE = 0.6

export interface Growth {
  readonly measurements: readonly Measurement[]
  /** why standard mode ends where it ends; undefined where it went as far as chunked mode */
  readonly standardEnds: string | undefined
}

export interface GrowthOptions {
  /** measured already: the last of the chunked series */
  readonly main: Measurement
  readonly chunkSize: number | undefined
  /** standard mode ends before a call that is expected to take longer */
  readonly longestCallMs: number
  readonly signal: AbortSignal
  readonly onStep: (step: {
    readonly done: number
    readonly total: number
    readonly mode: string
    readonly tokens: number
    readonly remainingMs: number
  }) => void
}

/** Time and memory of both modes over doubling numbers of tokens; standard mode as far as memory allows. */
export async function measureGrowth(runtime: Runtime, tokens: Tensor, options: GrowthOptions): Promise<Growth> {
  const { main } = options
  const steps = growthSteps(main.tokens)
  const measurements: Measurement[] = []
  let standardEnds: string | undefined
  for (const [index, count] of steps.entries()) {
    const step = (mode: 'chunked' | 'standard'): void => {
      const left = { counts: steps.slice(index), mode, standard: standardEnds === undefined }
      const remainingMs = expectedMs(left, main, measurements)
      options.onStep({ done: index, total: steps.length, mode, tokens: count, remainingMs })
    }
    step('chunked')
    const part = firstTokens(tokens, count)
    measurements.push(count === main.tokens ? main : await measureMode(runtime, part, 'chunked', options))
    if (standardEnds !== undefined) continue
    step('standard')
    const standard =
      tooLong(count, measurements, options.longestCallMs) ?? (await measureStandard(runtime, part, options))
    if (typeof standard === 'string') standardEnds = standard
    else measurements.push(standard)
  }
  return { measurements, standardEnds }
}

interface StepsLeft {
  /** numbers of tokens, the one at hand first */
  readonly counts: readonly number[]
  /** what the one at hand begins with */
  readonly mode: 'chunked' | 'standard'
  /** whether standard mode still goes on */
  readonly standard: boolean
}

/**
 * How long the steps that are left may take: time grows with n², and standard mode is as much slower as it was at the
 * last number of tokens.
 */
export function expectedMs(
  { counts, mode, standard }: StepsLeft,
  main: Measurement,
  measurements: readonly Measurement[],
): number {
  const oneCall = (count: number): number => main.elapsedMs * (count / main.tokens) ** 2
  const allCalls = (ms: number): number => ms * (ms < REPEAT_BELOW_MS ? REPEATS : 1)
  const last = measurements.findLast((found) => found.mode === 'standard')
  const ratio = last === undefined ? 1 : last.elapsedMs / oneCall(last.tokens)
  return counts.reduce((sum, count, index) => {
    const isMeasured = count === main.tokens || (index === 0 && mode === 'standard')
    const chunked = isMeasured ? 0 : allCalls(oneCall(count))
    return sum + chunked + (standard ? allCalls(oneCall(count) * ratio) : 0)
  }, 0)
}

/** Why a call is left out, from the last one of standard mode: time grows with n². */
function tooLong(count: number, measurements: readonly Measurement[], longestCallMs: number): string | undefined {
  const last = measurements.findLast(({ mode }) => mode === 'standard')
  if (last === undefined) return undefined
  const expectedMs = last.elapsedMs * (count / last.tokens) ** 2
  return expectedMs > longestCallMs
    ? `at ${formatInteger(count)} tokens standard attention is expected to take ${formatDuration(expectedMs)}`
    : undefined
}

/** Doubling from 1024 to below the number of tokens, and that number itself. */
export function growthSteps(tokens: number): number[] {
  const steps: number[] = []
  for (let count = SMALLEST_TOKENS; count < tokens; count *= 2) steps.push(count)
  return [...steps, tokens]
}

async function measureStandard(runtime: Runtime, part: Tensor, options: GrowthOptions): Promise<Measurement | string> {
  const tokens = formatInteger(part.shape[0] ?? 0)
  try {
    const { totalBytes } = planWords(runtime, part, { mode: 'standard' })
    const available = availableMemoryBytes()
    if (totalBytes > available * MEMORY_SHARE) {
      return `at ${tokens} tokens standard attention would take ${formatBytes(totalBytes)}; ${formatBytes(available)} are free`
    }
    return await measureMode(runtime, part, 'standard', options)
  } catch (error) {
    if (error instanceof MemoryBudgetError)
      return `at ${tokens} tokens standard attention does not fit: ${error.message}`
    throw error
  }
}

/** The median by time of up to three calls. */
async function measureMode(
  runtime: Runtime,
  part: Tensor,
  mode: 'standard' | 'chunked',
  { chunkSize, signal }: GrowthOptions,
): Promise<Measurement> {
  const runs: Measurement[] = []
  while (runs.length < REPEATS && (runs.at(-1)?.elapsedMs ?? 0) < REPEAT_BELOW_MS) {
    const { measurement } = await attendWords(runtime, part, {
      mode,
      signal,
      ...(chunkSize === undefined ? {} : { chunkSize }),
    })
    runs.push(measurement)
  }
  const byTime = [...runs].sort((a, b) => a.elapsedMs - b.elapsedMs)
  const median = byTime[Math.floor((byTime.length - 1) / 2)]
  if (median === undefined) throw new Error('growth: expected one measurement or more')
  // The first call of a size is the one that grows the process; later ones find its memory there.
  return { ...median, residentGrowthBytes: Math.max(...runs.map((run) => run.residentGrowthBytes)) }
}
