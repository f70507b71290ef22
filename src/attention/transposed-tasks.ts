import type { Ledger } from '../core/ledger.ts'
import { isShared } from '../core/shared-memory.ts'
import { visiblePairs } from '../plan/attention-sizes.ts'
import { keySegments, type KeySegment } from '../plan/key-segments.ts'
import type { SegmentPlan } from '../plan/segment-call.ts'
import type { AttentionTransposedTask } from '../protocol/backward-task.ts'
import type { TransposedCall } from './backward-call.ts'
import type { Operands } from '../scheduler/operands.ts'
import type { PlacedTask } from './segment-job.ts'
import { writesInPlace } from './gradient-placement.ts'
import { KeyRowResult } from './segment-results.ts'
import { SegmentTasks } from './segment-tasks.ts'

interface TransposedArrays {
  readonly query: Float32Array
  readonly key: Float32Array
  readonly logSumExp: Float32Array
  /** X; absent stands for ones */
  readonly rows?: Float32Array
}

/** The tasks of one call of Pᵀ·X, and its result, which they fill. */
export function transposedTasks(
  call: TransposedCall,
  arrays: TransposedArrays,
  plan: SegmentPlan,
  operands: Operands,
  ledger: Ledger,
): { readonly placed: PlacedTask[]; readonly output: Float32Array } {
  const { options, outputStrides } = call
  const { sizes } = call.layout
  const { batch, heads, queries, keys, valueSize } = sizes
  const inputs = Object.values(arrays) as Float32Array[]
  const inPlace = writesInPlace(plan.transport, inputs)
  const output = ledger.array(
    'output',
    Float32Array,
    batch * heads * keys * valueSize,
    inputs.every((array) => isShared(array)),
  )
  const keyRows = new KeyRowResult(output, outputStrides, valueSize, inPlace ? (array) => operands.whole(array) : null)
  const parts = { call, arrays, tasks: new SegmentTasks(call, operands, arrays), keyRows }
  const see = { ...options.settings, queryOffset: options.queryOffset, keyLength: options.keyLength }
  const placed: PlacedTask[] = []
  for (let b = 0; plan.tasks > 0 && b < batch; b++) {
    const segments = keySegments({ ...sizes, taskHeads: batch * heads }, see, b)
    const cost = visiblePairs(0, queries, b, see) / segments.length
    for (let h = 0; h < heads; h++) {
      for (const segment of segments) {
        const task = transposedTask(parts, b, h, segment)
        const stagingBytes = (segment.keyEnd - segment.keyStart) * plan.keyBytes
        const take: PlacedTask['take'] = (answer) =>
          keyRows.place(b, h, segment, 'output' in answer ? answer.output : undefined)
        placed.push({ task, group: b * heads + h, cost, stagingBytes, take })
      }
    }
  }
  return { placed, output }
}

/** What the tasks of a call are made of. */
interface TransposedParts {
  readonly call: TransposedCall
  readonly arrays: TransposedArrays
  readonly tasks: SegmentTasks
  readonly keyRows: KeyRowResult
}

function transposedTask(
  { call, arrays, tasks, keyRows }: TransposedParts,
  batch: number,
  head: number,
  segment: KeySegment,
): AttentionTransposedTask {
  const { sizes, value: strides } = call.layout
  const { heads, keyValueHeads, valueSize: columns } = sizes
  return {
    kind: 'attention-transposed',
    ...tasks.shared(batch, Math.floor((head * keyValueHeads) / heads), segment),
    head: tasks.scored(batch, head, segment),
    columns:
      arrays.rows === undefined ? null : tasks.headRows('rows', { array: arrays.rows, strides, columns }, batch, head),
    output: keyRows.destination(batch, head, segment),
  }
}
