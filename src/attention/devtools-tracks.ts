import type { EventLane, RuntimeEvents } from '../scheduler/pool-events.ts'
import type { Runtime } from './runtime.ts'

const GROUP = 'Heddle'
/** Entries with other names are the app's own. */
const PREFIX = 'heddle: '

/** A colour of Chromium's palette by what a lane did. */
const COLORS: Readonly<Record<RuntimeEvents['task']['what'], string>> = {
  attention: 'primary',
  'attention-heads': 'primary',
  'attention-backward': 'secondary',
  'attention-bias': 'secondary',
  'attention-transposed': 'tertiary',
  stage: 'primary-light',
  pass: 'primary-dark',
}

/**
 * Draws what each lane of a runtime does into the Performance panel of Chromium's DevTools: a track per lane, a block
 * per task, a marker where a lane was lost. The panel takes them from `performance.measure` and `performance.mark`
 * (developer.chrome.com/docs/devtools/performance/extension); a `PerformanceObserver` receives them too, also in Node.
 * They do not stay in the page's own timeline.
 *
 * @param runtime whose lanes are drawn
 * @returns a function that ends it
 *
 * @example
 * ```js
 * import { createRuntime, drawDevToolsTracks } from 'heddle'
 *
 * const runtime = await createRuntime({ workers: 2 })
 * const stop = drawDevToolsTracks(runtime)
 * // Record in the Performance panel while calls run.
 * stop()
 * await runtime.close()
 * ```
 */
export function drawDevToolsTracks(runtime: Runtime): () => void {
  const stops = [runtime.on('task', drawTask), runtime.on('lane', drawLoss)]
  return () => stops.forEach((stop) => stop())
}

function drawTask({ what, tasks, startMs, endMs, ...lane }: RuntimeEvents['task']): void {
  const name = `${PREFIX}${what}`
  const devtools = {
    dataType: 'track-entry',
    track: trackOf(lane),
    trackGroup: GROUP,
    color: COLORS[what],
    properties: [['tasks', String(tasks)]],
    tooltipText: `${what}, ${tasks} ${tasks === 1 ? 'task' : 'tasks'}`,
  }
  performance.measure(name, { start: Math.max(0, startMs), end: endMs, detail: { devtools } })
  performance.clearMeasures(name)
}

function drawLoss({ state, reason = '', ...lane }: RuntimeEvents['lane']): void {
  if (state !== 'lost' && state !== 'failed') return
  const name = `${PREFIX}${trackOf(lane)} ${state}`
  const devtools = { dataType: 'marker', color: 'error', properties: [['reason', reason]], tooltipText: reason }
  performance.mark(name, { detail: { devtools } })
  performance.clearMarks(name)
}

function trackOf({ lane, kind, thread }: EventLane): string {
  return thread === 'caller' ? `calling thread (${kind})` : `lane ${lane} (${kind})`
}
