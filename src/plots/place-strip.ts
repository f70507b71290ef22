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
  const bins = new Float64Array(Math.min(places, Math.floor(width - LEFT - RIGHT)))
  for (let place = 0; place < places; place++) {
    const bin = Math.floor((place * bins.length) / places)
    bins[bin] = Math.max(bins[bin] ?? 0, strip.weights[place] ?? 0)
  }
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
  const ticks = x
    .ticks(width < 480 ? 3 : 6)
    .map(
      (tick) =>
        `<path class="axis" d="M${coordinate(x(tick))},${BOTTOM}v5"/><text x="${coordinate(x(tick))}" y="${BOTTOM + 19}" text-anchor="middle">${formatInteger(tick)}</text>`,
    )
  const heights = [0.1, 1].map(
    (share) =>
      `<path class="grid" d="M${LEFT},${coordinate(y(share * largest))}H${width - RIGHT}"/><text x="${LEFT - 8}" y="${coordinate(y(share * largest) + 4)}" text-anchor="end">${String(Number((share * largest).toPrecision(2)))}</text>`,
  )
  const from =
    strip.from === undefined
      ? []
      : [
          `<path class="marker s1" transform="translate(${coordinate(x(strip.from + 0.5))},${BOTTOM})" d="M0,-9l5,-9h-10z"/>`,
        ]
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
