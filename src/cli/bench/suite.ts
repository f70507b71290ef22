import os from 'node:os'
import { createRuntime, type Runtime } from '../../index.ts'
import { formatBytes } from '../../plan/explain.ts'
import { benchSettings, type BenchCase, type BenchSetting } from './bench-case.ts'
import {
  measureSetting,
  type BenchResult,
  type MeasureOptions,
  type SettingOutcome,
  type SkippedCase,
} from './measure-setting.ts'

export interface SuiteOptions {
  readonly tokens: readonly number[]
  readonly heads: number
  readonly headSize: number
  /** numbers of workers, each with a pool of its own */
  readonly workers: readonly number[]
  readonly caseMs: number
  /** a case whose one call is expected to take longer is left out */
  readonly longestCallMs: number
  readonly signal: AbortSignal
  readonly onSetting: (progress: {
    readonly done: number
    readonly total: number
    readonly setting: BenchSetting
  }) => void
}

export const FULL_SUITE = {
  tokens: [128, 256, 512, 1024, 2048, 4096, 8192, 16_384],
  heads: 8,
  headSize: 64,
  caseMs: 1500,
  longestCallMs: 8000,
} as const
export const QUICK_SUITE = {
  tokens: [128, 512, 1024],
  heads: 2,
  headSize: 64,
  caseMs: 60,
  longestCallMs: 2000,
} as const

/** One worker, and as many as the machine has processors. */
export function defaultWorkers(): number[] {
  return [...new Set([1, os.availableParallelism()])]
}

/** The part of the free memory that one case may take. */
const MEMORY_SHARE = 0.6

/** Standard against chunked attention over growing sequences. @throws {Error} when an answer is wrong */
export async function runSuite(options: SuiteOptions): Promise<SettingOutcome> {
  const settings = benchSettings(options.tokens, options.workers, options.heads, options.headSize)
  const results: BenchResult[] = []
  const skipped: SkippedCase[] = []
  const runtimes = new Map<number, Runtime>()
  try {
    for (const [done, setting] of settings.entries()) {
      options.onSetting({ done, total: settings.length, setting })
      const runtime = runtimes.get(setting.workers) ?? (await createRuntime({ workers: setting.workers }))
      runtimes.set(setting.workers, runtime)
      const outcome = await measureSetting(runtime, setting, measureOptions(options, results))
      results.push(...outcome.results)
      skipped.push(...outcome.skipped)
    }
  } finally {
    await Promise.all([...runtimes.values()].map((runtime) => runtime.close()))
  }
  return { results, skipped }
}

function measureOptions(
  { caseMs, longestCallMs, signal }: SuiteOptions,
  results: readonly BenchResult[],
): MeasureOptions {
  const skip = (candidate: BenchCase, runtime: Runtime): string | undefined => {
    const expectedMs = expectedTime(candidate, results)
    if (expectedMs > longestCallMs) return `a call is expected to take ${(expectedMs / 1000).toFixed(1)} s`
    const shape = [1, candidate.heads, candidate.tokens, candidate.headSize]
    const { totalBytes } = runtime.plan(
      { query: shape, key: shape, value: shape },
      { mode: candidate.mode, causal: candidate.causal },
    )
    const available = process.availableMemory()
    return totalBytes > available * MEMORY_SHARE
      ? `it takes ${formatBytes(totalBytes)}, and ${formatBytes(available)} are free`
      : undefined
  }
  return { caseMs, signal, skip }
}

/** From the longest shorter sequence of the same kind: time grows with n². */
function expectedTime(candidate: BenchCase, results: readonly BenchResult[]): number {
  const { mode, causal, workers, tokens } = candidate
  const last = results.findLast(
    (result) =>
      result.mode === mode && result.causal === causal && result.workers === workers && result.tokens < tokens,
  )
  return last === undefined ? 0 : last.medianMs * (tokens / last.tokens) ** 2
}
