import { formatBytes } from '../../plan/explain.ts'
import type { Machine } from '../machine.ts'
import { growthPlots } from '../../plots/growth-plots.ts'
import type { Drawing } from '../../plots/frame.ts'
import { linePlot, makesCurve, type LinePlot } from '../../plots/line-plot.ts'
import { htmlBlock, htmlChecks, htmlPage, htmlPlots, htmlTable } from '../report/page.ts'
import { formatDuration, formatInteger, formatNumber } from '../terminal/format.ts'
import type { Growth } from './growth.ts'
import type { SelfCheck } from './self-check.ts'
import type { Measurement } from './word-attention.ts'

/** All that `heddle run` found out, as its JSON holds it. */
export interface RunReport {
  readonly format: 'heddle-run/1'
  readonly date: string
  readonly machine: Machine
  readonly text: { readonly name: string; readonly tokens: number; readonly distinctWords: number }
  readonly lanes: readonly {
    readonly kind: string
    readonly kernels: string
    readonly tasks: number
    readonly busyMs: number
  }[]
  readonly chunkRows: number
  readonly plan: string
  readonly main: Measurement
  readonly check: SelfCheck
  readonly outputHash: string
  readonly growth: Growth
  /** for the plot: mean measured entropy of the words that stand `count` times */
  readonly entropyByCount: readonly { readonly count: number; readonly entropy: number }[]
}

/** Row entropies averaged over the words of each count, by count. */
export function entropyByCount(
  ids: Int32Array,
  counts: Int32Array,
  entropy: Float32Array,
): RunReport['entropyByCount'] {
  const sums = new Map<number, { sum: number; rows: number }>()
  for (const [row, id] of ids.entries()) {
    const count = counts[id] ?? 0
    const entry = sums.get(count) ?? { sum: 0, rows: 0 }
    entry.sum += entropy[row] ?? NaN
    entry.rows++
    sums.set(count, entry)
  }
  return [...sums].map(([count, { sum, rows }]) => ({ count, entropy: sum / rows })).sort((a, b) => a.count - b.count)
}

export function runPage(report: RunReport): string {
  const { machine, main, text, growth, check } = report
  const lead = `${text.name}: ${formatInteger(text.tokens)} words, each attending to all, exactly. ${machine.cpu}, ${machine.cores} cores, Node ${machine.versions.node}, heddle ${machine.versions.heddle}, ${report.date.slice(0, 10)}.`
  const figures = [
    { label: 'tokens', value: formatInteger(main.tokens) },
    { label: 'time of the one call', value: formatDuration(main.elapsedMs) },
    { label: 'tokens per second', value: formatInteger(main.tokensPerSecond) },
    { label: 'GFLOP/s', value: formatNumber(main.gigaflopsPerSecond) },
    { label: 'peak memory, counted', value: formatBytes(main.peakBytes) },
    {
      label: 'checks passed',
      value: `${check.checks.filter(({ passed }) => passed).length} of ${check.checks.length}`,
    },
  ]
  const plots = runPlots(report)
  return htmlPage('Attention over a whole text', lead, figures, [
    { heading: 'Is it right?', html: htmlChecks(check.checks) + htmlPlots(shown([plots['entropy']])) },
    { heading: 'Sample words', html: wordTable(check) },
    {
      heading: 'How time and memory grow',
      html: htmlPlots(shown([plots['time'], plots['memory']])) + growthTable(growth) + standardNote(growth),
    },
    { heading: 'The plan', html: htmlBlock(report.plan) },
    {
      heading: 'The output',
      html: `<p>One hash over its bytes, the same for any number of workers and any chunk size on this machine:</p><code>${report.outputHash}</code>`,
    },
  ])
}

/** The page's plots by name; a short text leaves out those that would be a dot or two. */
export function runPlots(report: RunReport): Readonly<Record<string, Drawing>> {
  const { measurements, standardEnds } = report.growth
  const places = report.entropyByCount.map(({ count }) => ({ x: count }))
  return {
    ...growthPlots(measurements, standardEnds !== undefined),
    ...(makesCurve(places) ? { entropy: entropyPlot(report) } : {}),
  }
}

function shown(plots: readonly (Drawing | undefined)[]): Drawing[] {
  return plots.filter((plot) => plot !== undefined)
}

function standardNote({ standardEnds }: Growth): string {
  return standardEnds === undefined ? '' : htmlBlock(`Standard mode ends here: ${standardEnds}.`)
}

function entropyPlot({ entropyByCount: points }: RunReport): Drawing {
  const most = points.at(-1)?.count ?? 1
  const curve = Array.from({ length: 65 }, (_, step) => most ** (step / 64)).map((count) => ({
    x: count,
    y: Math.log(count),
  }))
  const plot: LinePlot = {
    title: 'Entropy of attention against how often a word occurs in the text',
    x: { label: 'occurrences of the word', scale: 'log10' },
    y: { label: 'row entropy', unit: 'nats', scale: 'linear' },
    series: [
      { name: 'ln(count), from a plain word count', draw: 'line', points: curve },
      { name: 'measured', draw: 'markers', points: points.map(({ count, entropy }) => ({ x: count, y: entropy })) },
    ],
  }
  return (options) => linePlot(plot, options)
}

function wordTable({ words }: SelfCheck): string {
  const rows = words.map((word) => [
    word.word,
    formatInteger(word.count),
    word.expectedEntropy.toFixed(4),
    word.entropy.toFixed(4),
    formatNumber(word.worstWeightError),
    formatNumber(word.weightElsewhere),
  ])
  return htmlTable(
    ['word', 'count', 'ln(count)', 'row entropy', 'largest |weight · count − 1|', 'weight at other words'],
    rows,
  )
}

function growthTable({ measurements }: Growth): string {
  const rows = measurements.map((measurement) => [
    measurement.mode,
    formatInteger(measurement.tokens),
    formatDuration(measurement.elapsedMs),
    formatInteger(measurement.tokensPerSecond),
    formatNumber(measurement.gigaflopsPerSecond),
    formatBytes(measurement.peakBytes),
    formatBytes(measurement.plannedBytes),
    formatBytes(measurement.residentGrowthBytes),
  ])
  return htmlTable(
    ['mode', 'tokens', 'time', 'tokens/s', 'GFLOP/s', 'peak, counted', 'planned', 'resident growth'],
    rows,
  )
}
