import { visiblePairs } from '../plan/attention-sizes.ts'
import { keySegments } from '../plan/key-segments.ts'
import type { SharedBias } from '../plan/segment-call.ts'
import type { AttentionBiasTask, BiasPart } from '../protocol/backward-task.ts'
import type { BackwardCall } from './backward-call.ts'
import type { BackwardArrays } from './backward-arrays.ts'
import type { BiasResult } from './bias-gradient.ts'
import { sharersOf } from './bias-kind.ts'
import type { Operands } from '../scheduler/operands.ts'
import type { PlacedTask } from './segment-job.ts'
import { SegmentTasks } from './segment-tasks.ts'

/** Tasks of a bias matrix that several heads or batches share: one for each such matrix and key segment. */
export function sharedBiasTasks(
  call: BackwardCall,
  arrays: BackwardArrays,
  operands: Operands,
  result: BiasResult,
  planned: SharedBias,
): PlacedTask[] {
  const {
    layout: { sizes, value, output },
    options: { bias, settings, queryOffset, keyLength },
  } = call
  if (bias === null) return []
  const tasks = new SegmentTasks(call, operands, arrays, false)
  const see = { ...settings, queryOffset, keyLength }
  const segments = keySegments({ ...sizes, taskHeads: planned.taskHeads }, see, 0)
  const columns = sizes.valueSize
  return sharersOf(bias.strides, sizes).flatMap((sharers, group) =>
    segments.map((segment): PlacedTask => {
      const parts = sharers.map(({ batch, head }): BiasPart => {
        const keyHead = Math.floor((head * sizes.keyValueHeads) / sizes.heads)
        return {
          ...tasks.shared(batch, keyHead, segment),
          value: tasks.keyRows({ array: arrays.value, strides: value, columns }, batch, keyHead, segment),
          head: {
            ...tasks.scored(batch, head, segment),
            output: tasks.headRows('output', { array: arrays.output, strides: output, columns }, batch, head),
            dOutput: tasks.headRows('dOutput', { array: arrays.dOutput, strides: output, columns }, batch, head),
          },
        }
      })
      const place = { batch: sharers[0]?.batch ?? 0, head: sharers[0]?.head ?? 0, segment }
      const task: AttentionBiasTask = { kind: 'attention-bias', parts, dBias: result.destination(place) }
      const takeMatrix = result.expect(place)
      return {
        task,
        group,
        cost: visiblePairs(0, sizes.queries, 0, see) / segments.length,
        stagingBytes: (segment.keyEnd - segment.keyStart) * planned.keyBytes + planned.taskBytes,
        take: (answer) => {
          if ('dBias' in answer && answer.dBias !== undefined) takeMatrix(answer.dBias)
        },
      }
    }),
  )
}
