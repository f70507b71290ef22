import { axisScale, type AxisScale } from './axis.ts'
import { formatInteger } from './format.ts'
import { DEFAULT_WIDTH, fitText, plotFrame, textWidth, type PlotOptions } from './frame.ts'
import { coordinate, escapeText } from './markup.ts'

/** What something may do; its place in a list of kinds gives the colour. */
export interface TimelineKind {
  readonly name: string
  readonly label: string
}

/** One row: what a head does at each of the plot's places, null where it does nothing that has a name. */
export interface TimelineRow {
  readonly label: string
  readonly kinds: readonly (string | null)[]
}

export interface RoleTimeline {
  readonly title: string
  /** where something was measured, ascending, such as steps of training */
  readonly places: readonly number[]
  readonly rows: readonly TimelineRow[]
  /** at most eight, in an order that stays the same from plot to plot */
  readonly kinds: readonly TimelineKind[]
  /** names of the axes */
  readonly x: string
  readonly y: string
  /** a stretch that stands out, such as the steepest fall of a loss */
  readonly band?: { readonly from: number; readonly to: number; readonly label: string }
}

const [RIGHT, LEGEND_TOP, LEGEND_LINE] = [20, 42, 20]
/** Of a row: the text above its bar, and the bar. */
const [ROW, TEXT, BAR] = [34, 14, 10]
const SWATCH = 12

/** Which head does what when: a row per head, a coloured bar per stretch with its name above it. */
export function roleTimeline(plot: RoleTimeline, options: PlotOptions = {}): string {
  const { width = DEFAULT_WIDTH } = options
  if (plot.places.length < 2)
    throw new RangeError(`plot '${plot.title}': expected two places or more, got ${plot.places.length}`)
  const used = plot.kinds.filter(({ name }) => plot.rows.some(({ kinds }) => kinds.includes(name)))
  const named = legend(plot, used, width)
  const left = Math.ceil(36 + Math.max(...plot.rows.map(({ label }) => textWidth(label))))
  const [top, right] = [LEGEND_TOP + named.lines * LEGEND_LINE + 6, width - RIGHT]
  const bottom = top + plot.rows.length * ROW
  const scale = axisScale({ label: plot.x, scale: 'linear', format: formatInteger }, plot.places, left, right)
  const body = [
    ...named.markup,
    ...bandMarkup(plot, scale, { top, bottom }),
    ...plot.rows.flatMap((row, index) => drawRow(plot, row, scale, { left, right, top: top + index * ROW })),
    ...axisMarkup(plot, scale, { left, right, bottom }),
    `<text transform="translate(20,${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${escapeText(plot.y)}</text>`,
  ]
  return plotFrame(plot.title, { width, height: bottom + 48 }, body, options)
}

/** A stretch of places at which a row has one kind. */
interface Stretch {
  readonly kind: string | null
  readonly first: number
  readonly last: number
}

function stretchesOf({ kinds }: TimelineRow): Stretch[] {
  const stretches: Stretch[] = []
  kinds.forEach((kind, place) => {
    const before = stretches.at(-1)
    if (before?.kind === kind) stretches[stretches.length - 1] = { ...before, last: place }
    else stretches.push({ kind, first: place, last: place })
  })
  return stretches
}

function drawRow(
  { places, kinds }: RoleTimeline,
  row: TimelineRow,
  { position }: AxisScale,
  { left, right, top }: { readonly left: number; readonly right: number; readonly top: number },
): string[] {
  const middle = coordinate(top + TEXT + 4 + BAR / 2)
  // A measurement stands for the places that are nearer to it than to its neighbours.
  const edge = (index: number): number => {
    const [before, after] = [places[index - 1], places[index]]
    return position(((before ?? after ?? 0) + (after ?? before ?? 0)) / 2)
  }
  const bars = stretchesOf(row).flatMap(({ kind, first, last }) => {
    const colour = kinds.findIndex(({ name }) => name === kind)
    if (kind === null || colour < 0) return []
    const label = kinds[colour]?.label ?? kind
    const [start, end] = [edge(first), edge(last + 1)]
    const steps = first === last ? `${places[first]}` : `${places[first]}–${places[last]}`
    const room = fitText(label, end - start)
    const text = room === '…' ? '' : `<text x="${coordinate(start)}" y="${top + TEXT}">${escapeText(room)}</text>`
    return [
      `<g><title>${escapeText(`${row.label}: ${label}, ${steps}`)}</title><rect class="k${colour}" x="${coordinate(start)}" y="${top + TEXT + 4}" width="${coordinate(Math.max(1, end - start))}" height="${BAR}"/>${text}</g>`,
    ]
  })
  return [
    `<text class="strong" x="${left - 8}" y="${top + TEXT + BAR + 2}" text-anchor="end">${escapeText(row.label)}</text>`,
    `<path class="axis" d="M${left},${middle}H${right}"/>`,
    ...bars,
  ]
}

function bandMarkup(
  { band }: RoleTimeline,
  { position }: AxisScale,
  { top, bottom }: { readonly top: number; readonly bottom: number },
): string[] {
  if (band === undefined) return []
  const [start, end] = [position(band.from), position(band.to)]
  const size = Math.max(2, end - start)
  return [
    `<rect class="band" x="${coordinate(start)}" y="${top}" width="${coordinate(size)}" height="${bottom - top}"><title>${escapeText(`${band.label}: ${band.from}–${band.to}`)}</title></rect>`,
  ]
}

function axisMarkup(
  { x }: RoleTimeline,
  { ticks, position, format }: AxisScale,
  { left, right, bottom }: { readonly left: number; readonly right: number; readonly bottom: number },
): string[] {
  const marks = ticks.map((tick) => {
    const at = coordinate(position(tick))
    return `<path class="axis" d="M${at},${bottom}v5"/><text x="${at}" y="${bottom + 19}" text-anchor="middle">${escapeText(format(tick))}</text>`
  })
  return [
    `<path class="axis" d="M${left},${bottom}H${right}"/>`,
    ...marks,
    `<text x="${(left + right) / 2}" y="${bottom + 38}" text-anchor="middle">${escapeText(x)}</text>`,
  ]
}

/** Swatches of the kinds that appear, and of the band. */
function legend(
  { kinds, band }: RoleTimeline,
  used: readonly TimelineKind[],
  width: number,
): { readonly markup: string[]; readonly lines: number } {
  const entries = [
    ...used.map((kind) => ({ label: kind.label, colour: `k${kinds.indexOf(kind)}` })),
    ...(band === undefined ? [] : [{ label: band.label, colour: 'band' }]),
  ]
  let [left, line] = [16, 0]
  const markup = entries.map(({ label, colour }) => {
    const needed = SWATCH + 7 + textWidth(label)
    if (left > 16 && left + needed > width - 16) [left, line] = [16, line + 1]
    const [start, y] = [left, LEGEND_TOP + line * LEGEND_LINE]
    left += needed + 16
    return `<rect class="${colour}" x="${coordinate(start)}" y="${y - 6}" width="${SWATCH}" height="${SWATCH}"/><text class="legend" x="${coordinate(start + SWATCH + 7)}" y="${y + 4}">${escapeText(label)}</text>`
  })
  return { markup, lines: entries.length === 0 ? 0 : line + 1 }
}
