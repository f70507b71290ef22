import { scaleLinear, scaleLog } from 'd3-scale'
import { formatNumber } from './format.ts'

/** One axis of a plot. */
export interface Axis {
  readonly label: string
  /** shown after the label, in brackets */
  readonly unit?: string
  readonly scale: 'log2' | 'log10' | 'linear'
  /** where a linear axis ends. @default the first round number past the values */
  readonly end?: number
  /** the text of a tick, and of a value in tips; by default the number itself */
  readonly format?: (value: number) => string
}

/** A position for each value, and the values that get a tick. */
export interface AxisScale {
  readonly position: (value: number) => number
  readonly ticks: readonly number[]
  readonly format: (value: number) => string
}

/** Most ticks that fit side by side. */
const MAX_TICKS = 9

/** Maps the range of `values` onto [start, end]; a logarithmic axis begins and ends at a power of its base. */
export function axisScale(axis: Axis, values: readonly number[], start: number, end: number): AxisScale {
  const format = axis.format ?? formatNumber
  if (axis.scale === 'linear') {
    const scale = scaleLinear().domain([0, axis.end ?? Math.max(...values)])
    if (axis.end === undefined) scale.nice(5)
    scale.range([start, end])
    return { position: scale, ticks: scale.ticks(5), format }
  }
  const base = axis.scale === 'log2' ? 2 : 10
  const exponents = values.filter((value) => value > 0).map((value) => Math.log(value) / Math.log(base))
  const low = Math.floor(Math.min(...exponents) + 1e-9)
  const high = Math.max(low + 1, Math.ceil(Math.max(...exponents) - 1e-9))
  const scale = scaleLog()
    .base(base)
    .domain([base ** low, base ** high])
    .range([start, end])
  const stride = Math.ceil((high - low + 1) / MAX_TICKS)
  const ticks = Array.from(
    { length: Math.floor((high - low) / stride) + 1 },
    (_, index) => base ** (low + index * stride),
  )
  return { position: scale, ticks, format }
}

/** `label (unit)`, and that a scale is logarithmic: `time, log scale`. */
export function axisTitle({ label, unit, scale }: Axis): string {
  const named = unit === undefined ? label : `${label} (${unit})`
  return scale === 'linear' ? named : `${named}, log scale`
}
