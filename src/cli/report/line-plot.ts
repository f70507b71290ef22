import { line } from 'd3-shape'
import { axisScale, axisTitle, type Axis, type AxisScale } from './axis.ts'
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

const WIDTH = 640
const HEIGHT = 400
/** More points than this get smaller markers. */
const MANY_POINTS = 60
const FRAME = { left: 88, right: 28, top: 64, bottom: 56 }

/** Colours of light and dark surroundings; each pair keeps its contrast on its own surface. */
export const PLOT_STYLE = `
.plot { --surface: #fcfcfb; --ink: #0b0b0b; --soft: #52514e; --grid: #e4e3df; --axis: #b9b8b3;
  --series-0: #2a78d6; --series-1: #d9541e; --series-2: #12815c; --series-3: #7a4fc9; font: 12px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { .plot { --surface: #1a1a19; --ink: #ffffff; --soft: #c3c2b7; --grid: #33332f; --axis: #5c5b56;
  --series-0: #5598e8; --series-1: #f0814f; --series-2: #35b184; --series-3: #a98aec; } }
.plot .surface { fill: var(--surface); } .plot text { fill: var(--soft); } .plot .title { fill: var(--ink); font-size: 15px; font-weight: 600; }
.plot .legend { fill: var(--ink); } .plot .note { font-style: italic; } .plot .grid { stroke: var(--grid); } .plot .axis { stroke: var(--axis); }
.plot .curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; } .plot .marker { stroke: var(--surface); stroke-width: 1.5; } .plot .small { stroke: none; }
${[0, 1, 2, 3].map((index) => `.plot .curve.s${index} { stroke: var(--series-${index}); } .plot .marker.s${index} { fill: var(--series-${index}); }`).join('\n')}
`.trim()

/** A plot as one `<svg>` that carries its own style: title, legend, axes with units, and each value in a tip. */
export function linePlot(plot: LinePlot): string {
  const points = plot.series.flatMap((series) => series.points)
  if (points.length === 0) throw new RangeError(`plot '${plot.title}': expected one point or more, got none`)
  const x = axisScale(plot.x, points.map((point) => point.x), FRAME.left, WIDTH - FRAME.right)
  const y = axisScale(plot.y, points.map((point) => point.y), HEIGHT - FRAME.bottom, FRAME.top)
  return [
    `<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escapeText(plot.title)}">`,
    `<style>${PLOT_STYLE}</style>`,
    `<rect class="surface" width="${WIDTH}" height="${HEIGHT}"/>`,
    `<text class="title" x="16" y="24">${escapeText(plot.title)}</text>`,
    ...legend(plot.series),
    ...horizontalAxis(plot.x, x),
    ...verticalAxis(plot.y, y),
    ...plot.series.flatMap((series, index) => drawSeries(series, index, x, y)),
    '</svg>',
  ].join('\n')
}

function legend(series: readonly Series[]): string[] {
  let left = 16
  return series.flatMap(({ name, draw = 'both' }, index) => {
    const start = left
    left += 34 + name.length * 6.6 + 18
    const swatch = draw === 'markers' ? '' : `<path class="curve s${index}" d="M${coordinate(start)},42h24"/>`
    const symbol = draw === 'line' ? '' : marker(index, start + 12, 42, false)
    return [`${swatch}${symbol}<text class="legend" x="${coordinate(start + 31)}" y="46">${escapeText(name)}</text>`]
  })
}

function horizontalAxis(axis: Axis, { ticks, position, format }: AxisScale): string[] {
  const bottom = HEIGHT - FRAME.bottom
  const middle = (FRAME.left + WIDTH - FRAME.right) / 2
  return [
    `<path class="axis" d="M${FRAME.left},${bottom}H${WIDTH - FRAME.right}"/>`,
    ...ticks.map((tick) => {
      const at = coordinate(position(tick))
      return `<path class="axis" d="M${at},${bottom}v5"/><text x="${at}" y="${bottom + 19}" text-anchor="middle">${escapeText(format(tick))}</text>`
    }),
    `<text class="x-label" x="${middle}" y="${HEIGHT - 14}" text-anchor="middle">${escapeText(axisTitle(axis))}</text>`,
  ]
}

function verticalAxis(axis: Axis, { ticks, position, format }: AxisScale): string[] {
  const middle = (FRAME.top + HEIGHT - FRAME.bottom) / 2
  return [
    ...ticks.map((tick) => {
      const at = position(tick)
      const label = `<text x="${FRAME.left - 8}" y="${coordinate(at + 4)}" text-anchor="end">${escapeText(format(tick))}</text>`
      return `<path class="grid" d="M${FRAME.left},${coordinate(at)}H${WIDTH - FRAME.right}"/>${label}`
    }),
    `<text class="y-label" transform="translate(22,${middle}) rotate(-90)" text-anchor="middle">${escapeText(axisTitle(axis))}</text>`,
  ]
}

function drawSeries({ name, points, draw = 'both', endNote }: Series, index: number, x: AxisScale, y: AxisScale): string[] {
  const path = line<Series['points'][number]>((point) => x.position(point.x), (point) => y.position(point.y)).digits(1)(points)
  const curve = draw === 'markers' || path === null ? [] : [`<path class="curve s${index}" d="${path}"/>`]
  const small = points.length > MANY_POINTS
  const markers = points.map((point) => {
    const tip = `<title>${escapeText(`${name}: ${x.format(point.x)}, ${y.format(point.y)}`)}</title>`
    return `<g>${tip}${marker(index, x.position(point.x), y.position(point.y), small)}</g>`
  })
  return [...curve, ...(draw === 'line' ? [] : markers), ...note(endNote, points.at(-1), x, y)]
}

function note(text: string | undefined, end: { readonly x: number; readonly y: number } | undefined, x: AxisScale, y: AxisScale): string[] {
  if (text === undefined || end === undefined) return []
  const left = x.position(end.x)
  // Beside the point where there is room for the text, else before it.
  const anchor = left + 10 + text.length * 6 < WIDTH - FRAME.right ? 'start' : 'end'
  const at = anchor === 'start' ? left + 10 : left - 10
  return [`<text class="note" x="${coordinate(at)}" y="${coordinate(y.position(end.y) - 6)}" text-anchor="${anchor}">${escapeText(text)}</text>`]
}

/** Circle, square, diamond or triangle: series differ by more than their colour. */
function marker(index: number, x: number, y: number, small: boolean): string {
  const place = `transform="translate(${coordinate(x)},${coordinate(y)})${small ? ' scale(0.5)' : ''}"`
  const classes = `marker s${index}${small ? ' small' : ''}`
  if (index === 0) return `<circle class="${classes}" ${place} r="4.5"/>`
  const shapes = ['', 'm-4.2,-4.2h8.4v8.4h-8.4z', 'm0,-5.6l5.6,5.6l-5.6,5.6l-5.6,-5.6z', 'm0,-5.4l5.4,9.4h-10.8z']
  return `<path class="${classes}" ${place} d="M0,0${shapes[index] ?? shapes[3]}"/>`
}
