import { keysSeenFrom } from '../../plan/visibility.ts'
import { asksForStatistics } from '../../protocol/row-results.ts'
import type { AttentionSettings, AttentionTask, AttentionTaskResult, Destination, Slice } from '../../protocol/task.ts'

/**
 * Grouped heads in decoding. One query row of each head of a group reads the same keys and values from the same
 * position, so these rows can be one tile: keys and values are then read once per group. A row's bits do not depend on
 * its neighbours in a tile, so nothing changes but the time.
 */

/** Tasks of one row each, and the one that stands for all of them. */
export interface JoinedHeads {
  readonly count: number
  readonly task: AttentionTask
}

/** A tile holds no more rows; a group of more heads makes several. */
const MOST_HEADS = 64

/** What each head has for itself, row by row of the joined task. */
const OWN_SLICES = ['query', 'mask', 'bias', 'querySegments', 'output', 'logSumExp'] as const

/** The tasks from `start` on that can be one; null where that is the first of them alone. */
export function joinHeads(tasks: readonly AttentionTask[], start: number): JoinedHeads | null {
  const first = tasks[start] as AttentionTask
  const second = tasks[start + 1]
  if (second === undefined || !mayJoin(first) || !sharesKeys(first, second)) return null
  const steps = stepsBetween(first, second)
  if (steps === null) return null
  let count = 2
  for (; count < MOST_HEADS && start + count < tasks.length; count++) {
    const next = tasks[start + count] as AttentionTask
    if (
      !sharesKeys(first, next) ||
      !OWN_SLICES.every((name) => isStep(tasks[start + count - 1]?.[name], next[name], steps[name]))
    )
      break
  }
  return { count, task: { ...atOnePosition(first), ...slicesOf(first, steps), rows: count } }
}

/** What each of the joined tasks would have returned. */
export function splitResult(
  {
    count,
    task: {
      settings: { valueSize },
    },
  }: JoinedHeads,
  { output, logSumExp, elapsedMs, tiles, skippedTiles }: AttentionTaskResult,
): AttentionTaskResult[] {
  return Array.from({ length: count }, (_, index) => ({
    ...(output === undefined ? {} : { output: output.slice(index * valueSize, (index + 1) * valueSize) }),
    ...(logSumExp === undefined ? {} : { logSumExp: logSumExp.slice(index, index + 1) }),
    elapsedMs: elapsedMs / count,
    tiles: index === 0 ? tiles : 0,
    skippedTiles: index === 0 ? skippedTiles : 0,
  }))
}

/** One row, and nothing that counts by head or needs its position in the kernels. */
function mayJoin(task: AttentionTask): boolean {
  const {
    rows,
    alibiSlope,
    weights,
    settings: { dropout, standard },
  } = task
  return (
    rows === 1 && alibiSlope === 0 && weights === undefined && dropout === null && !standard && !asksForStatistics(task)
  )
}

/** Whether two tasks read the same keys from the same position, by the same rules. */
function sharesKeys(a: AttentionTask, b: AttentionTask): boolean {
  return (
    a.settings === b.settings &&
    a.rows === b.rows &&
    a.alibiSlope === b.alibiSlope &&
    a.rowStart === b.rowStart &&
    a.queryOffset === b.queryOffset &&
    a.keyStart === b.keyStart &&
    a.keyEnd === b.keyEnd &&
    a.keyLength === b.keyLength &&
    isStep(a.key, b.key, 0) &&
    isStep(a.value, b.value, 0) &&
    isStep(a.keySegments, b.keySegments, 0)
  )
}

type Steps = Readonly<Record<(typeof OWN_SLICES)[number], number>>

/**
 * Elements from each slice of `a` to that of `b`; null where they do not lie in one array, or one task has a slice that
 * the other lacks.
 */
function stepsBetween(a: AttentionTask, b: AttentionTask): Steps | null {
  const steps = OWN_SLICES.map((name) => [name, stepOf(a[name], b[name])] as const)
  const fits = steps.every(([name, step]) => isStep(a[name], b[name], step))
  return fits ? (Object.fromEntries(steps) as Steps) : null
}

function stepOf(a: Destination | undefined, b: Destination | undefined): number {
  return isSlice(a) && isSlice(b) ? b.offset - a.offset : 0
}

/** Whether `b` is what `a` is, `step` elements further. */
function isStep(a: Destination | undefined, b: Destination | undefined, step: number): boolean {
  if (!isSlice(a) || !isSlice(b)) return a === b
  return (
    a.array === b.array &&
    b.offset - a.offset === step &&
    a.rowStride === b.rowStride &&
    a.columnStride === b.columnStride
  )
}

function isSlice(destination: Destination | undefined): destination is Slice {
  return typeof destination === 'object'
}

/** The first head's slices, whose next row is the next head's. */
function slicesOf(first: AttentionTask, steps: Steps): Partial<AttentionTask> {
  return Object.fromEntries(
    OWN_SLICES.flatMap((name) => {
      const slice = first[name]
      return isSlice(slice) ? [[name, { ...slice, rowStride: steps[name] }]] : []
    }),
  )
}

/** The task with its visible keys as a range, so that every row sees the same ones. */
function atOnePosition(task: AttentionTask): AttentionTask {
  const { settings, rowStart, queryOffset, keyStart, keyEnd, keyLength } = task
  const seen = keysSeenFrom(rowStart + queryOffset, settings, keyLength)
  return {
    ...task,
    settings: withoutPositions(settings),
    keyStart: Math.max(keyStart, seen.start),
    keyEnd: Math.min(keyEnd, seen.end),
  }
}

function withoutPositions(settings: AttentionSettings): AttentionSettings {
  return { ...settings, causal: false, windowBefore: Infinity, windowAfter: Infinity }
}
