import { TOKENS_AXIS } from '../../src/plots/growth-plots.ts'
import { linePlot } from '../../src/plots/line-plot.ts'
import { median } from '../kernels/rounds.ts'
import { CONTENDERS } from './contenders.ts'

export interface PeerRow {
  readonly contender: string
  readonly tokens: number
  readonly times: readonly number[]
  readonly residentBytes: readonly number[]
  readonly worstError: number
  readonly failure?: string
}

export interface PeerResult {
  /** engine and version */
  readonly host: string
  readonly heads: number
  readonly headSize: number
  readonly rows: readonly PeerRow[]
}

/** The names that run there. @param installed whether the peers that are not dependencies were installed */
export function contendersFor(where: 'node' | 'chromium', installed: boolean): string[] {
  return CONTENDERS.filter(
    (each) => (where === 'node' || each.where === 'everywhere') && (installed || each.needs === null),
  ).map(({ name }) => name)
}

/** One result as a table for a terminal, as Markdown, and as a plot of GFLOP/s against n. */
export function peerReport(result: PeerResult): {
  readonly table: string
  readonly markdown: string
  readonly plot: string
} {
  const names = [...new Set(result.rows.map(({ contender }) => contender))]
  const sizes = [...new Set(result.rows.map(({ tokens }) => tokens))]
  const cellOf = (name: string, tokens: number): string =>
    cell(
      result,
      result.rows.find((row) => row.contender === name && row.tokens === tokens),
    )
  const lines = names.map((name) => [name, ...sizes.map((tokens) => cellOf(name, tokens))])
  const heads = [result.host, ...sizes.map((tokens) => `n = ${tokens.toLocaleString('en')}`)]
  const markdown = [heads, heads.map((_, column) => (column === 0 ? '---' : '---:')), ...lines]
    .map((line) => `| ${line.join(' | ')} |`)
    .join('\n')
  return {
    table: [alignColumns([heads, ...lines]), ...failures(result)].join('\n'),
    markdown,
    plot: speedPlot(result, names),
  }
}

function cell(result: PeerResult, row: PeerRow | undefined): string {
  if (row === undefined) return ''
  if (row.failure !== undefined || row.times.length === 0) return 'fails'
  const ms = median(row.times)
  const memory = row.residentBytes.length === 0 ? '' : `, ${Math.round(median(row.residentBytes) / 2 ** 20)} MiB`
  return `${ms < 100 ? ms.toPrecision(3) : Math.round(ms)} ms, ${gflops(result, row).toFixed(1)} GFLOP/s${memory}`
}

function failures({ rows }: PeerResult): string[] {
  return rows.flatMap(({ contender, tokens, failure }) =>
    failure === undefined ? [] : [`${contender} at ${tokens}: ${failure.slice(0, 160)}`],
  )
}

function gflops({ heads, headSize }: PeerResult, { tokens, times }: PeerRow): number {
  return (4 * heads * headSize * tokens * tokens) / (median(times) * 1e6)
}

/** At most four of them fit a plot: those on one thread, native code last. */
function speedPlot(result: PeerResult, names: readonly string[]): string {
  const shown = names
    .filter(
      (name) =>
        name !== 'heddle, all workers' && result.rows.some((row) => row.contender === name && row.times.length > 0),
    )
    .slice(0, 4)
  return linePlot({
    title: `Attention on one core, 8 heads of 64, ${result.host}`,
    x: TOKENS_AXIS,
    y: { label: 'speed', unit: 'GFLOP/s', scale: 'linear', format: (value) => String(value) },
    series: shown.map((name) => {
      const rows = result.rows.filter((row) => row.contender === name)
      const failed = rows.find((row) => row.failure !== undefined)
      const points = rows
        .filter((row) => row.times.length > 0)
        .map((row) => ({ x: row.tokens, y: gflops(result, row) }))
      return { name, points, ...(failed === undefined ? {} : { endNote: 'fails beyond' }) }
    }),
  })
}

function alignColumns(lines: readonly (readonly string[])[]): string {
  const widths = (lines[0] ?? []).map((_, column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)))
  return lines
    .map((line) =>
      line
        .map((text, column) => (column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0)))
        .join('   '),
    )
    .join('\n')
}
