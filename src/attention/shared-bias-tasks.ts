import { visiblePairs } from '../plan/attention-sizes.ts'
import { keySegments, type KeySegment } from '../plan/key-segments.ts'
import type { SharedBias } from '../plan/segment-call.ts'
import type { AttentionBiasTask, BiasPart } from '../protocol/backward-task.ts'
import type { BackwardCall } from './backward-call.ts'
import type { BackwardArrays } from './backward-arrays.ts'
import type { BiasResult } from './bias-gradient.ts'
import { sharersOf } from './bias-kind.ts'
import type { Operands } from '../scheduler/operands.ts'
import type { PlacedTask } from './segment-job.ts'
import { SegmentTasks } from './segment-tasks.ts'

/** What the tasks of a call are made of. */
interface BiasCall {
  readonly call: BackwardCall
  readonly arrays: BackwardArrays
  readonly tasks: SegmentTasks
}

/** Tasks of a bias matrix that several heads or batches share: one for each such matrix and key segment. */
export function sharedBiasTasks(
  call: BackwardCall,
  arrays: BackwardArrays,
  operands: Operands,
  result: BiasResult,
  planned: SharedBias,
): PlacedTask[] {
  const { sizes } = call.layout
  const { bias, settings, queryOffset, keyLength } = call.options
  if (bias === null) return []
  const parts = { call, arrays, tasks: new SegmentTasks(call, operands, arrays, false) }
  const see = { ...settings, queryOffset, keyLength }
  const segments = keySegments({ ...sizes, taskHeads: planned.taskHeads }, see, 0)
  const cost = visiblePairs(0, sizes.queries, 0, see) / segments.length
  return sharersOf(bias.strides, sizes).flatMap((sharers, group) =>
    segments.map((segment): PlacedTask => {
      const place = { batch: sharers[0]?.batch ?? 0, head: sharers[0]?.head ?? 0, segment }
      const task: AttentionBiasTask = {
        kind: 'attention-bias',
        parts: sharers.map((sharer) => biasPart(parts, sharer, segment)),
        dBias: result.destination(place),
      }
      const takeMatrix = result.expect(place)
      return {
        task,
        group,
        cost,
        stagingBytes: (segment.keyEnd - segment.keyStart) * planned.keyBytes + planned.taskBytes,
        take: (answer) => {
          if ('dBias' in answer && answer.dBias !== undefined) takeMatrix(answer.dBias)
        },
      }
    }),
  )
}

/** One head's share of a matrix that several share. */
function biasPart(
  { call, arrays, tasks }: BiasCall,
  { batch, head }: { readonly batch: number; readonly head: number },
  segment: KeySegment,
): BiasPart {
  const { sizes, value, output: strides } = call.layout
  const columns = sizes.valueSize
  const keyHead = Math.floor((head * sizes.keyValueHeads) / sizes.heads)
  return {
    ...tasks.shared(batch, keyHead, segment),
    value: tasks.keyRows({ array: arrays.value, strides: value, columns }, batch, keyHead, segment),
    head: {
      ...tasks.scored(batch, head, segment),
      output: tasks.headRows('output', { array: arrays.output, strides, columns }, batch, head),
      dOutput: tasks.headRows('dOutput', { array: arrays.dOutput, strides, columns }, batch, head),
    },
  }
}
