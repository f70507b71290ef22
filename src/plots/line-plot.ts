import { line } from 'd3-shape'
import { axisScale, axisTitle, type Axis, type AxisScale } from './axis.ts'
import { DEFAULT_WIDTH, plotFrame, textWidth, type PlotOptions } from './frame.ts'
import { coordinate, escapeText } from './markup.ts'

export interface Series {
  readonly name: string
  readonly points: readonly { readonly x: number; readonly y: number }[]
  /** what is drawn: a line with a marker at each point, or one of the two. @default 'both' */
  readonly draw?: 'both' | 'line' | 'markers'
  /** said at the last point, such as why the series ends there */
  readonly endNote?: string
}

export interface LinePlot {
  readonly title: string
  readonly x: Axis
  readonly y: Axis
  /** at most four, in an order that stays the same from plot to plot: it gives the colour */
  readonly series: readonly Series[]
}

const HEIGHT = 400
/** More points than this get smaller markers. */
const MANY_POINTS = 60
const FRAME = { right: 28, top: 64, bottom: 56 }
/** Room of the vertical axis' title, and between its numbers and the axis. */
const Y_TITLE = 36
const Y_GAP = 8
/** With fewer different places on the horizontal axis there is no curve to see: a table says more. */
const FEWEST_PLACES = 3
/** Height of a line of the legend. */
const LEGEND_LINE = 20

/** Where the data lies. */
interface Area {
  readonly left: number
  readonly right: number
  readonly top: number
  readonly bottom: number
}

/** Whether points are enough for a plot: three different places on the horizontal axis, or more. */
export function makesCurve(points: readonly { readonly x: number }[]): boolean {
  return new Set(points.map(({ x }) => x)).size >= FEWEST_PLACES
}

/** A plot as one `<svg>`: title, legend, axes with units, and each value in a tip. */
export function linePlot(plot: LinePlot, options: PlotOptions = {}): string {
  const { width = DEFAULT_WIDTH } = options
  const points = plot.series.flatMap((series) => series.points)
  if (points.length === 0) throw new RangeError(`plot '${plot.title}': expected one point or more, got none`)
  const named = legend(plot.series, width)
  const extra = (named.lines - 1) * LEGEND_LINE
  const [top, bottom] = [FRAME.top + extra, HEIGHT + extra - FRAME.bottom]
  const places = (side: 'x' | 'y'): number[] => points.map((point) => point[side])
  const y = axisScale(plot.y, places('y'), bottom, top)
  const left = Math.ceil(Y_TITLE + Y_GAP + Math.max(...y.ticks.map((tick) => textWidth(y.format(tick)))))
  const area = { left, right: width - FRAME.right, top, bottom }
  const x = axisScale(plot.x, places('x'), area.left, area.right)
  const body = [
    ...named.markup,
    ...horizontalAxis(plot.x, x, area),
    ...verticalAxis(plot.y, y, area),
    ...plot.series.flatMap((series, index) => drawSeries(series, index, { x, y, right: area.right })),
  ]
  return plotFrame(plot.title, { width, height: HEIGHT + extra }, body, options)
}

function legend(series: readonly Series[], width: number): { readonly markup: string[]; readonly lines: number } {
  let [left, line] = [16, 0]
  const markup = series.map(({ name, draw = 'both' }, index) => {
    const needed = 34 + textWidth(name)
    if (left > 16 && left + needed > width) [left, line] = [16, line + 1]
    const [start, y] = [left, 42 + line * LEGEND_LINE]
    left += needed + 18
    const swatch = draw === 'markers' ? '' : `<path class="curve s${index}" d="M${coordinate(start)},${y}h24"/>`
    const symbol = draw === 'line' ? '' : marker(index, start + 12, y, false)
    return `${swatch}${symbol}<text class="legend" x="${coordinate(start + 31)}" y="${y + 4}">${escapeText(name)}</text>`
  })
  return { markup, lines: line + 1 }
}

function horizontalAxis(axis: Axis, { ticks, position, format }: AxisScale, { left, right, bottom }: Area): string[] {
  // Where labels would touch, every second one stays.
  const widest = Math.max(...ticks.map((tick) => textWidth(format(tick)))) + 8
  const stride = Math.max(1, Math.ceil((widest * ticks.length) / (right - left)))
  return [
    `<path class="axis" d="M${left},${bottom}H${right}"/>`,
    ...ticks.map((tick, index) => {
      const at = coordinate(position(tick))
      const label =
        index % stride === 0
          ? `<text x="${at}" y="${bottom + 19}" text-anchor="middle">${escapeText(format(tick))}</text>`
          : ''
      return `<path class="axis" d="M${at},${bottom}v5"/>${label}`
    }),
    `<text class="x-label" x="${(left + right) / 2}" y="${bottom + 42}" text-anchor="middle">${escapeText(axisTitle(axis))}</text>`,
  ]
}

function verticalAxis(
  axis: Axis,
  { ticks, position, format }: AxisScale,
  { left, right, top, bottom }: Area,
): string[] {
  return [
    ...ticks.map((tick) => {
      const at = position(tick)
      const label = `<text x="${left - Y_GAP}" y="${coordinate(at + 4)}" text-anchor="end">${escapeText(format(tick))}</text>`
      return `<path class="grid" d="M${left},${coordinate(at)}H${right}"/>${label}`
    }),
    `<text class="y-label" transform="translate(22,${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeText(axisTitle(axis))}</text>`,
  ]
}

interface Scales {
  readonly x: AxisScale
  readonly y: AxisScale
  readonly right: number
}

function drawSeries({ name, points, draw = 'both', endNote }: Series, index: number, scales: Scales): string[] {
  const { x, y } = scales
  const path = line<Series['points'][number]>(
    (point) => x.position(point.x),
    (point) => y.position(point.y),
  ).digits(1)(points)
  const curve = draw === 'markers' || path === null ? [] : [`<path class="curve s${index}" d="${path}"/>`]
  const small = points.length > MANY_POINTS
  const markers = points.map((point) => {
    const tip = `<title>${escapeText(`${name}: ${x.format(point.x)}, ${y.format(point.y)}`)}</title>`
    return `<g>${tip}${marker(index, x.position(point.x), y.position(point.y), small)}</g>`
  })
  return [...curve, ...(draw === 'line' ? [] : markers), ...note(endNote, points.at(-1), scales)]
}

function note(
  text: string | undefined,
  end: { readonly x: number; readonly y: number } | undefined,
  { x, y, right }: Scales,
): string[] {
  if (text === undefined || end === undefined) return []
  const left = x.position(end.x)
  // Beside the point where there is room for the text, else before it.
  const anchor = left + 10 + text.length * 6 < right ? 'start' : 'end'
  const at = anchor === 'start' ? left + 10 : left - 10
  return [
    `<text class="note" x="${coordinate(at)}" y="${coordinate(y.position(end.y) - 6)}" text-anchor="${anchor}">${escapeText(text)}</text>`,
  ]
}

/** Circle, square, diamond or triangle: series differ by more than their colour. */
function marker(index: number, x: number, y: number, small: boolean): string {
  const place = `transform="translate(${coordinate(x)},${coordinate(y)})${small ? ' scale(0.5)' : ''}"`
  const classes = `marker s${index}${small ? ' small' : ''}`
  if (index === 0) return `<circle class="${classes}" ${place} r="4.5"/>`
  const shapes = ['', 'm-4.2,-4.2h8.4v8.4h-8.4z', 'm0,-5.6l5.6,5.6l-5.6,5.6l-5.6,-5.6z', 'm0,-5.4l5.4,9.4h-10.8z']
  return `<path class="${classes}" ${place} d="M0,0${shapes[index] ?? shapes[3]}"/>`
}
