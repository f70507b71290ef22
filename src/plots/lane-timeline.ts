import { scaleLinear } from 'd3-scale'
import { formatDuration, formatInteger } from './format.ts'
import { DEFAULT_WIDTH, plotFrame, type PlotOptions } from './frame.ts'
import { coordinate, escapeText } from './markup.ts'

/** A task that a lane worked on, as `onTask` tells it. */
export interface TimelineTask {
  readonly lane: number
  readonly kind: string
  readonly rowStart: number
  readonly rows: number
  readonly startMs: number
  readonly endMs: number
}

export interface LaneTimeline {
  readonly title: string
  readonly tasks: readonly TimelineTask[]
  /** lanes of the pool, those that did nothing too */
  readonly lanes: number
  /** where time begins */
  readonly startMs: number
  /** where the axis ends, at the least */
  readonly endMs?: number
  readonly words?: { readonly lane: string; readonly time: string; readonly rows: string }
}

const LEFT = 64
const LANE_HEIGHT = 26
const TOP = 40

/** Which lane worked on which rows when: a bar per task. */
export function laneTimeline(plot: LaneTimeline, options: PlotOptions = {}): string {
  const { width = DEFAULT_WIDTH } = options
  const { lane: laneWord, time, rows: rowWord } = plot.words ?? { lane: 'lane', time: 'time', rows: 'rows' }
  const spanMs = Math.max(
    1,
    plot.endMs === undefined ? 0 : plot.endMs - plot.startMs,
    ...plot.tasks.map(({ endMs }) => endMs - plot.startMs),
  )
  const scale = scaleLinear()
    .domain([0, spanMs])
    .range([LEFT, width - 20])
  const bottom = TOP + plot.lanes * LANE_HEIGHT
  const bars = plot.tasks.map(({ lane, kind, rowStart, rows, startMs, endMs }) => {
    const start = scale(Math.max(0, startMs - plot.startMs))
    const tip = `${laneWord} ${lane + 1} (${kind}): ${rowWord} ${formatInteger(rowStart)}–${formatInteger(rowStart + rows - 1)}, ${formatDuration(endMs - startMs)}`
    const size = Math.max(1, scale(endMs - plot.startMs) - start)
    return `<rect class="bar s${kind === 'webgpu' ? 1 : 0}" x="${coordinate(start)}" y="${TOP + lane * LANE_HEIGHT + 4}" width="${coordinate(size)}" height="${LANE_HEIGHT - 8}" rx="2"><title>${escapeText(tip)}</title></rect>`
  })
  const names = Array.from(
    { length: plot.lanes },
    (_, lane) =>
      `<text x="${LEFT - 8}" y="${TOP + lane * LANE_HEIGHT + 17}" text-anchor="end">${escapeText(laneWord)} ${lane + 1}</text>`,
  )
  const ticks = scale.ticks(width < 480 ? 3 : 6).map((tick) => {
    const at = coordinate(scale(tick))
    const label = tick === 0 ? '0' : tick < 1000 ? `${tick} ms` : `${tick / 1000} s`
    return `<path class="grid" d="M${at},${TOP}V${bottom}"/><text x="${at}" y="${bottom + 17}" text-anchor="middle">${label}</text>`
  })
  const body = [
    ...ticks,
    ...names,
    ...bars,
    `<text x="${(LEFT + width - 20) / 2}" y="${bottom + 36}" text-anchor="middle">${escapeText(time)}</text>`,
  ]
  return plotFrame(plot.title, { width, height: bottom + 46 }, body, options)
}
