import { caseKey } from './bench-case.ts'
import type { BenchResult, SkippedCase } from './measure-setting.ts'
import { formatBytes } from '../../plan/explain.ts'
import type { Machine } from '../machine.ts'
import { formatBytesShort, TOKENS_AXIS } from '../../plots/growth-plots.ts'
import type { Drawing } from '../../plots/frame.ts'
import { linePlot, makesCurve } from '../../plots/line-plot.ts'
import { htmlPage, htmlPlots, htmlTable } from '../report/page.ts'
import { formatDuration, formatInteger, formatNumber } from '../terminal/format.ts'
import type { Column } from '../terminal/table.ts'

/** A run of `heddle bench`, as its JSON holds it. */
export interface BenchReport {
  readonly format: 'heddle-bench/1'
  readonly date: string
  readonly machine: Machine
  readonly results: readonly BenchResult[]
  readonly skipped: readonly SkippedCase[]
  /** median over n ≥ 512 of standard time ÷ chunked time; above 1, chunked is faster */
  readonly medianRatio: number | undefined
}

export const BENCH_COLUMNS: readonly Column[] = [
  { head: 'n' },
  { head: 'workers' },
  { head: 'mask', align: 'left' },
  { head: 'mode', align: 'left' },
  { head: 'median' },
  { head: 'quartiles' },
  { head: 'calls' },
  { head: 'GFLOP/s' },
  { head: 'peak' },
  { head: 'standard ÷ chunked' },
]

/** Cells of one row under {@link BENCH_COLUMNS}. */
export function benchRow(result: BenchResult, results: readonly BenchResult[]): string[] {
  const ratio = ratioOf(result, results)
  return [
    formatInteger(result.tokens),
    String(result.workers),
    result.causal ? 'causal' : 'none',
    result.mode,
    formatDuration(result.medianMs),
    `${formatDuration(result.lowMs)} – ${formatDuration(result.highMs)}`,
    String(result.samples),
    formatNumber(result.gigaflopsPerSecond),
    formatBytes(result.peakBytes),
    ratio === undefined ? '' : `${ratio.toFixed(2)} ×`,
  ]
}

/** Time of standard mode over that of this chunked case. */
function ratioOf(result: BenchResult, results: readonly BenchResult[]): number | undefined {
  if (result.mode !== 'chunked') return undefined
  const key = caseKey({ ...result, mode: 'standard' })
  const standard = results.find((other) => caseKey(other) === key)
  return standard === undefined ? undefined : standard.medianMs / result.medianMs
}

export function medianRatio(results: readonly BenchResult[]): number | undefined {
  const ratios = results.filter(({ tokens }) => tokens >= 512).flatMap((result) => ratioOf(result, results) ?? [])
  const sorted = ratios.sort((a, b) => a - b)
  const middle = sorted.length / 2
  return sorted.length % 2 === 1
    ? sorted[Math.floor(middle)]
    : sorted.length === 0
      ? undefined
      : ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2
}

export function benchPage(report: BenchReport): string {
  const { machine, results, skipped } = report
  const lead = `${machine.cpu}, ${machine.cores} cores, Node ${machine.versions.node}, heddle ${machine.versions.heddle}, ${report.date.slice(0, 10)}. Medians of calls in turns; every answer was held against a float64 reference first.`
  const best = Math.max(0, ...results.map(({ gigaflopsPerSecond }) => gigaflopsPerSecond))
  const figures = [
    { label: 'cases', value: String(results.length) },
    { label: 'best GFLOP/s', value: formatNumber(best) },
    {
      label: 'standard ÷ chunked, median',
      value: report.medianRatio === undefined ? '–' : `${report.medianRatio.toFixed(2)} ×`,
    },
  ]
  const rows = results.map((result) => benchRow(result, results))
  const plots = Object.values(benchPlots(results))
  const left = skipped.map((candidate) => [caseKey(candidate), candidate.reason])
  return htmlPage('Standard and chunked attention', lead, figures, [
    ...(plots.length === 0 ? [] : [{ heading: 'Against the length of the sequence', html: htmlPlots(plots) }]),
    {
      heading: 'Every case',
      html: htmlTable(
        BENCH_COLUMNS.map(({ head }) => head),
        rows,
        { left: 0 },
      ),
    },
    ...(left.length === 0
      ? []
      : [{ heading: 'Left out', html: htmlTable(['case', 'reason'], left, { left: 1, wrapped: 1 }) }]),
  ])
}

/** Speed and memory on the largest pool, without a mask and with a causal one; nothing below three lengths. */
export function benchPlots(results: readonly BenchResult[]): Readonly<Record<string, Drawing>> {
  if (!makesCurve(results.map(({ tokens }) => ({ x: tokens })))) return {}
  const workers = Math.max(...results.map((result) => result.workers))
  const kinds = [false, true].flatMap((causal) => (['chunked', 'standard'] as const).map((mode) => ({ mode, causal })))
  const plotOf = (
    title: string,
    y: Parameters<typeof linePlot>[0]['y'],
    value: (result: BenchResult) => number,
  ): Drawing => {
    const series = kinds.map(({ mode, causal }) => ({
      name: `${mode}${causal ? ', causal' : ''}`,
      points: results
        .filter((result) => result.workers === workers && result.mode === mode && result.causal === causal)
        .map((result) => ({ x: result.tokens, y: value(result) })),
    }))
    const shown = series.filter(({ points }) => points.length > 0)
    return (options) => linePlot({ title, x: TOKENS_AXIS, y, series: shown }, options)
  }
  const pool = `${workers} worker${workers === 1 ? '' : 's'}`
  return {
    speed: plotOf(
      `Speed, ${pool}`,
      { label: 'speed', unit: 'GFLOP/s', scale: 'linear' },
      (result) => result.gigaflopsPerSecond,
    ),
    memory: plotOf(
      `Peak memory, ${pool}`,
      { label: 'peak memory', scale: 'log2', format: formatBytesShort },
      (result) => result.peakBytes,
    ),
  }
}
