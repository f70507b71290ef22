import type { Chunk } from './chunk.ts'
import { headTask } from './head-inputs.ts'
import { ofHead, placed, type Motion, type MovingHeads, type MovingSlice } from './moving-slice.ts'
import { chosenOf, returnedArrays } from './returned-rows.ts'
import type { AttentionTemplate, StageTemplate } from './stage-template.ts'
import { CONTEXT_ARRAY, rowRuns, type HeadSlice, type RowRun, type RowStageTask, type RowStep } from './stage.ts'
import type { AttentionTask, Slice } from './task.ts'

/** The stage's task for one chunk. @param slabRow index of the chunk's first row in its slab */
export function stageTask(stage: StageTemplate, chunk: Chunk, slabRow = 0): RowStageTask {
  const { registers, registerBytes, residentLimitBytes, attention, sequence, withoutGpu } = stage
  const crosses = chunk.rowStart + chunk.rows > sequence
  return {
    kind: 'rows',
    ...chunk,
    ...(crosses ? { sequence } : {}),
    ...(slabRow === 0 ? {} : { slabRow }),
    ...(withoutGpu === undefined ? {} : { withoutGpu }),
    registers,
    registerBytes,
    residentLimitBytes,
    attention:
      attention === null
        ? null
        : {
            width: attention.width,
            tasks: attentionTasks(attention, chunk, crosses ? sequence : undefined),
            returned: returnedArrays(attention, chunk),
          },
    steps: stage.steps.map((step) => placeStep(step, chunk, crosses)),
  }
}

/** One task per head of each sequence in the chunk. */
function attentionTasks(attention: AttentionTemplate, chunk: Chunk, sequence: number | undefined): AttentionTask[] {
  const runs = rowRuns({ ...chunk, ...(sequence === undefined ? {} : { sequence }) }, 0, chunk.rows)
  return runs.flatMap((run) => Array.from({ length: attention.heads }, (_, head) => stageHead(attention, head, run)))
}

function stageHead(attention: AttentionTemplate, head: number, run: RowRun): AttentionTask {
  const { width, settings } = attention
  return {
    ...headTask(attention, head, run),
    output: { array: CONTEXT_ARRAY, offset: run.at * width + head * settings.valueSize, rowStride: width },
    ...resultsOf(attention, head, run),
  }
}

/** Where the results beside the output go. */
function resultsOf(attention: AttentionTemplate, head: number, run: RowRun): Partial<AttentionTask> {
  const { results, chosen } = attention
  const destinations: Record<string, Slice | Int32Array> = {}
  results.forEach(({ name, columns, to }, index) => {
    if (name === 'weights' && chosen !== null) {
      const place = chosen.heads.indexOf(head)
      const { first, rows } = chosenOf(chosen.rows, run)
      if (place < 0 || rows.length === 0) return
      destinations['weightRows'] = rows
      destinations[name] =
        to === 'returned'
          ? { array: -1 - index, offset: place * rows.length * columns, rowStride: columns }
          : ofHead(to, place, { batch: run.batch, row: first })
      return
    }
    destinations[name] =
      to === 'returned'
        ? { array: -1 - index, offset: head * run.rows * columns, rowStride: columns }
        : ofHead(to, head, run)
  })
  return destinations
}

/**
 * Steps that are the same for every chunk. One with a slice that moves does not belong here: it does not compile
 * without a case of its own.
 */
type StillStep<S extends RowStep = RowStep<MovingSlice, MovingHeads>> = S extends unknown
  ? [Extract<S[keyof S], Motion>] extends [never]
    ? S
    : never
  : never

function placeStep(step: RowStep<MovingSlice, MovingHeads>, chunk: Chunk, crosses: boolean): RowStep {
  switch (step.op) {
    case 'load':
      return byPosition(step, step.from, chunk, crosses, (from) => ({ op: 'load', to: step.to, from }))
    case 'rotate':
      return byPosition(step, step.table, chunk, crosses, (table) => ({
        op: 'rotate',
        register: step.register,
        headSize: step.headSize,
        turned: step.turned,
        table,
        ...(step.back === undefined ? {} : { back: step.back }),
      }))
    case 'load-heads':
      return { ...step, from: crosses ? step.from : placedHeads(step.from, chunk) }
    case 'cross-entropy':
    case 'cross-entropy-backward':
      return { ...step, targets: placed(step.targets, chunk) }
    case 'max-rows-backward':
      return { ...step, segments: placed(step.segments, chunk) }
    case 'embed':
      return { ...step, tokens: placed(step.tokens, chunk) }
    case 'store':
      return { ...step, to: step.to === 'returned' ? step.to : placed(step.to, chunk) }
    case 'store-heads':
      return { ...step, to: step.to === 'returned' || crosses ? step.to : placedHeads(step.to, chunk) }
    default:
      return step satisfies StillStep
  }
}

/**
 * A slice by position moves with the row of the sequence; where the chunk crosses sequences it stays that of position
 * 0.
 */
function byPosition(
  step: { readonly byPosition?: true },
  slice: MovingSlice,
  chunk: Chunk,
  crosses: boolean,
  make: (slice: Slice) => RowStep,
): RowStep {
  if (step.byPosition === undefined || !crosses) return make(placed(slice, chunk))
  return { ...make(slice), byPosition: true } as RowStep
}

function placedHeads(
  { array, offset, headStride, rowStride, batchStride = 0, startStride, rowShifts }: MovingHeads,
  { batch, rowStart }: Chunk,
): HeadSlice {
  const first = rowStart * startStride + (rowShifts?.[batch] ?? 0) * rowStride
  return { array, offset: offset + batch * batchStride + first, headStride, rowStride }
}
