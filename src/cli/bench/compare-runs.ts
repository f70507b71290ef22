import { readFile } from 'node:fs/promises'
import { caseKey } from './bench-case.ts'
import type { BenchResult } from './measure-setting.ts'
import { UsageError } from '../usage-error.ts'
import type { BenchReport } from './bench-report.ts'

/** One case of two runs. */
export interface Comparison {
  readonly key: string
  readonly before: BenchResult
  readonly after: BenchResult
  /** time before ÷ time after: above 1, it became faster */
  readonly speedup: number
  /** 'same' where the quartiles of both overlap; 'too few calls' where that would be chance too often */
  readonly verdict: 'faster' | 'slower' | 'same' | 'too few calls'
}

/**
 * Calls that each run needs for a verdict. Of two runs of the same code, the quartiles are apart by chance in 33 % of
 * cases with three calls each, in 20 % with five, and in 6 % with eight (40,000 simulated pairs, normal logarithms).
 */
export const MIN_CALLS = 8

export interface RunComparison {
  readonly cases: readonly Comparison[]
  /** keys that only one of the two has */
  readonly onlyBefore: readonly string[]
  readonly onlyAfter: readonly string[]
  /** geometric mean of the speed-ups; undefined where no case is in both */
  readonly meanSpeedup: number | undefined
}

/** Matches the cases of two runs by key. */
export function compareRuns(before: BenchReport, after: BenchReport): RunComparison {
  const later = new Map(after.results.map((result) => [caseKey(result), result]))
  const earlier = new Set(before.results.map(caseKey))
  const cases = before.results.flatMap((result): Comparison[] => {
    const key = caseKey(result)
    const match = later.get(key)
    return match === undefined
      ? []
      : [
          {
            key,
            before: result,
            after: match,
            speedup: result.medianMs / match.medianMs,
            verdict: verdictOf(result, match),
          },
        ]
  })
  const logs = cases.map(({ speedup }) => Math.log(speedup))
  return {
    cases,
    onlyBefore: [...earlier].filter((key) => !later.has(key)),
    onlyAfter: [...later.keys()].filter((key) => !earlier.has(key)),
    meanSpeedup: logs.length === 0 ? undefined : Math.exp(logs.reduce((sum, log) => sum + log, 0) / logs.length),
  }
}

function verdictOf(before: BenchResult, after: BenchResult): Comparison['verdict'] {
  if (Math.min(before.samples, after.samples) < MIN_CALLS) return 'too few calls'
  if (after.highMs < before.lowMs) return 'faster'
  return after.lowMs > before.highMs ? 'slower' : 'same'
}

/** Reads what an earlier run wrote. @throws {UsageError} when it is no such file */
export async function readBenchReport(file: string): Promise<BenchReport> {
  let parsed: unknown
  try {
    parsed = JSON.parse(await readFile(file, 'utf8'))
  } catch (cause) {
    throw new UsageError(
      `compare: expected a JSON file of 'heddle bench', got '${file}' (${(cause as Error).message})`,
      { cause },
    )
  }
  if (!isBenchReport(parsed))
    throw new UsageError(`compare: expected a JSON file of 'heddle bench' (format heddle-bench/1), got '${file}'`)
  return parsed
}

function isBenchReport(value: unknown): value is BenchReport {
  const report = value as Partial<BenchReport> | null
  return (
    typeof value === 'object' &&
    report?.format === 'heddle-bench/1' &&
    Array.isArray(report.results) &&
    report.results.every(isResult)
  )
}

function isResult(value: unknown): boolean {
  const result = value as Partial<BenchResult> | null
  const times = [result?.medianMs, result?.lowMs, result?.highMs]
  return (
    times.every((time) => typeof time === 'number' && time > 0) &&
    typeof result?.tokens === 'number' &&
    typeof result.samples === 'number' &&
    typeof result.mode === 'string'
  )
}
