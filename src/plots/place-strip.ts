import { scaleLinear, scaleSqrt } from 'd3-scale'
import { formatInteger } from './format.ts'
import { DEFAULT_WIDTH, plotFrame, type PlotOptions } from './frame.ts'
import { coordinate, escapeText } from './markup.ts'

export interface PlaceStrip {
  readonly title: string
  /** a weight per place of a sequence, 0 or more */
  readonly weights: ArrayLike<number>
  /** the place that attends */
  readonly from?: number
  readonly x: string
  readonly y: string
}

const [LEFT, RIGHT, TOP, BOTTOM] = [72, 16, 44, 150]

/**
 * The weights of one row along a sequence of any length: a line per pixel that has one, the largest weight within it.
 * Heights go with the square root, so that small weights beside a large one can be seen.
 */
export function placeStrip(strip: PlaceStrip, options: PlotOptions = {}): string {
  const { width = DEFAULT_WIDTH } = options
  const places = strip.weights.length
  if (places === 0) throw new RangeError(`plot '${strip.title}': expected one weight or more, got none`)
  const bins = largestOf(strip.weights, Math.min(places, Math.floor(width - LEFT - RIGHT)))
  const largest = Math.max(...bins, 1e-12)
  const x = scaleLinear()
    .domain([0, places])
    .range([LEFT, width - RIGHT])
  const y = scaleSqrt().domain([0, largest]).range([BOTTOM, TOP])
  const lines = [...bins].flatMap((weight, bin) =>
    weight < largest / 1e4
      ? []
      : [`M${coordinate(x(((bin + 0.5) * places) / bins.length))},${BOTTOM}V${coordinate(y(weight))}`],
  )
  const ticks = x.ticks(width < 480 ? 3 : 6).map((tick) => tickMark(coordinate(x(tick)), formatInteger(tick)))
  const heights = [0.1, 1].map((share) => heightLine(share * largest, y(share * largest), width))
  const from = strip.from === undefined ? [] : [fromMarker(coordinate(x(strip.from + 0.5)))]
  const body = [
    ...heights,
    `<path class="curve s0" d="${lines.join('')}"/>`,
    `<path class="axis" d="M${LEFT},${BOTTOM}H${width - RIGHT}"/>`,
    ...ticks,
    ...from,
    `<text x="${(LEFT + width - RIGHT) / 2}" y="${BOTTOM + 40}" text-anchor="middle">${escapeText(strip.x)}</text>`,
    `<text transform="translate(18,${(TOP + BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escapeText(strip.y)}</text>`,
  ]
  return plotFrame(strip.title, { width, height: BOTTOM + 52 }, body, options)
}

/** The largest weight of each of `count` stretches of equal length. */
function largestOf(weights: ArrayLike<number>, count: number): Float64Array {
  const bins = new Float64Array(count)
  for (let place = 0; place < weights.length; place++) {
    const bin = Math.floor((place * count) / weights.length)
    bins[bin] = Math.max(bins[bin] ?? 0, weights[place] ?? 0)
  }
  return bins
}

function tickMark(x: string, label: string): string {
  return `<path class="axis" d="M${x},${BOTTOM}v5"/><text x="${x}" y="${BOTTOM + 19}" text-anchor="middle">${label}</text>`
}

function heightLine(value: number, y: number, width: number): string {
  const label = String(Number(value.toPrecision(2)))
  return `<path class="grid" d="M${LEFT},${coordinate(y)}H${width - RIGHT}"/><text x="${LEFT - 8}" y="${coordinate(y + 4)}" text-anchor="end">${label}</text>`
}

function fromMarker(x: string): string {
  return `<path class="marker s1" transform="translate(${x},${BOTTOM})" d="M0,-9l5,-9h-10z"/>`
}
