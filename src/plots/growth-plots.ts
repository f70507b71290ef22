import { formatBytes } from '../plan/explain.ts'
import { formatDuration, formatNumber } from './format.ts'
import type { Axis } from './axis.ts'
import type { Drawing } from './frame.ts'
import { linePlot, makesCurve, type Series } from './line-plot.ts'

/** A value of one mode at one number of tokens. */
export interface GrowthPoint {
  readonly tokens: number
  readonly mode: 'standard' | 'chunked'
  readonly elapsedMs: number
  readonly peakBytes: number
}

/** The axis of sequence lengths. */
export const TOKENS_AXIS: Axis = { label: 'sequence length n', unit: 'tokens', scale: 'log2', format: shortCount }

/** Time and counted peak memory against n, chunked and standard mode; none where there are fewer than three sizes. */
export function growthPlots(
  points: readonly GrowthPoint[],
  standardEnds: boolean,
): { readonly time: Drawing; readonly memory: Drawing } | null {
  if (!makesCurve(points.map(({ tokens }) => ({ x: tokens })))) return null
  const plotOf = (title: string, y: Axis, value: (point: GrowthPoint) => number): Drawing => {
    const series = (['chunked', 'standard'] as const).map((mode): Series => {
      const own = points.filter((point) => point.mode === mode).map((point) => ({ x: point.tokens, y: value(point) }))
      const note = standardEnds && mode === 'standard' ? { endNote: 'standard mode ends here' } : {}
      return { name: `${mode} mode`, points: own, ...note }
    })
    const shown = series.filter(({ points: own }) => own.length > 0)
    return (options) => linePlot({ title, x: TOKENS_AXIS, y, series: shown }, options)
  }
  return {
    time: plotOf('Time of one call', { label: 'time', scale: 'log10', format: formatTime }, (point) => point.elapsedMs),
    memory: plotOf(
      'Peak memory of one call',
      { label: 'peak memory', scale: 'log2', format: formatBytesShort },
      (point) => point.peakBytes,
    ),
  }
}

/** 1024 as `1k`: sequence lengths double. */
export function shortCount(count: number): string {
  return count >= 1024 ? `${Number((count / 1024).toPrecision(4))}k` : String(count)
}

/** Up to ten thousand seconds as seconds: ticks are powers of ten. */
function formatTime(ms: number): string {
  return ms < 1000 ? formatDuration(ms).replace(/\.0+ /, ' ') : `${formatNumber(ms / 1000)} s`
}

/** `4 MiB` for `4.00 MiB`: ticks are powers of two. */
export function formatBytesShort(bytes: number): string {
  return formatBytes(bytes).replace(/\.0+ /, ' ')
}
