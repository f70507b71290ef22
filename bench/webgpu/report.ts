import { TOKENS_AXIS } from '../../src/plots/growth-plots.ts'
import { linePlot, makesCurve } from '../../src/plots/line-plot.ts'
import { adapterName } from '../../src/backends/webgpu/probe.ts'
import type { Row, SuiteResult } from './suite.ts'

/**
 * One host's result as Markdown, and as a plot of TFLOP/s against n for the first head size, not causal; null below
 * three sizes.
 */
export function gpuReport(
  host: string,
  result: SuiteResult,
): { readonly markdown: string; readonly plot: string | null } {
  const where = `${adapterName(result.info)}${result.software ? ' (software: it says nothing about a GPU)' : ''}, ${host}`
  const tiles = result.tiles.times.map(
    ({ tile, milliseconds, reason }) =>
      `${tile} ${milliseconds === null ? `not offered (${reason})` : `${milliseconds.toPrecision(3)} ms`}`,
  )
  const lines = [
    `${where}. Peak in float32 ${result.peakTeraflops.toPrecision(3)} TFLOP/s. Variants: ${tiles.join(', ')}; runs ${result.tiles.tile} (${result.tiles.reason}).`,
    '',
    '| case | contender | median (quartiles), ms | TFLOP/s | of peak | error |',
    '| --- | --- | ---: | ---: | ---: | ---: |',
    ...result.rows.map((row) => `| ${caseOf(row)} | ${row.contender} | ${cells(row).join(' | ')} |`),
  ]
  return { markdown: lines.join('\n'), plot: speedPlot(where, result.rows) }
}

function caseOf({ heads, tokens, headSize, causal }: Row): string {
  return `n ${tokens.toLocaleString('en')}, ${heads} heads of ${headSize}${causal ? ', causal' : ''}`
}

/** A contender whose answer is wrong has its error, and no time. */
function cells({ spread, teraflops, shareOfPeak, error, failure }: Row): string[] {
  const off = error === null ? '' : error.toExponential(1)
  if (spread === null) return [`not timed: ${(failure ?? '').slice(0, 100)}`, '', '', off]
  const times = `${spread.medianMs.toPrecision(3)} (${spread.lowMs.toPrecision(3)} – ${spread.highMs.toPrecision(3)})`
  return [times, (teraflops ?? NaN).toPrecision(3), `${(100 * (shareOfPeak ?? NaN)).toFixed(1)} %`, off]
}

/** At most four contenders fit a plot: Heddle's own device kernel, its lane, and two peers. */
function speedPlot(where: string, rows: readonly Row[]): string | null {
  const size = rows[0]?.headSize
  const timed = rows.filter((row) => row.headSize === size && !row.causal && row.teraflops !== null)
  if (!makesCurve(timed.map(({ tokens }) => ({ x: tokens })))) return null
  const names = [...new Set(timed.map(({ contender }) => contender))]
  const shown = [
    ...names.filter((name) => name.startsWith('heddle, on the device')).slice(0, 1),
    ...names.filter((name) => name === 'heddle lane, float32'),
    ...names.filter((name) => !name.startsWith('heddle')),
  ].slice(0, 4)
  return linePlot({
    title: `Attention on ${where}, heads of ${size}`,
    x: TOKENS_AXIS,
    y: { label: 'speed', unit: 'TFLOP/s', scale: 'linear', format: (value) => String(value) },
    series: shown.map((name) => ({
      name,
      points: timed
        .filter(({ contender }) => contender === name)
        .map(({ tokens, teraflops }) => ({ x: tokens, y: teraflops ?? 0 })),
    })),
  })
}
