import { keySegments } from '../../plan/key-segments.ts'
import type { Visibility } from '../../plan/attention-sizes.ts'
import type { AttendAttributes, Operation, Value } from '../operation.ts'
import type { Tape } from '../tape.ts'
import { attendFlops } from './attend.ts'
import { split } from './split.ts'

/** Multiply-adds of backward against those of forward: five products in place of two (Dao 2023, algorithm 2). */
const FLOP_RATIO = 2.5

/** The gradients of attention's query, key and value from that of its context. */
export function attendAdjoint(operation: Operation<'attend'>, dContext: Value, tape: Tape): readonly Value[] {
  const { inputs, outputs, attributes } = operation
  const [query, key, value] = inputs.map((input) => tape.recall(input)) as [Value, Value, Value]
  const [context, logSumExp] = [outputs[0] as Value, outputs[1 + attributes.results.indexOf('logSumExp')] as Value]
  const segments = segmentsOf(query, attributes)
  const dOutput = split(tape.graph, dContext, attributes.heads)
  const slots = segments[0]?.length ?? 1
  const { heads, keyHeads } = attributes
  return tape.graph.addWith(
    'attend-backward',
    [query, key, value, tape.recall(context), tape.recall(logSumExp), dOutput],
    { forward: attributes, segments },
    [
      { name: 'gradient slots', sizes: query, storage: { layout: 'heads', heads, slots } },
      { name: 'key gradients', sizes: key, storage: { layout: 'heads', heads: keyHeads } },
      { name: 'value gradients', sizes: value, storage: { layout: 'heads', heads: keyHeads } },
    ],
  )
}

/** How each batch's keys are cut; one entry serves all where they are alike. */
function segmentsOf({ batch, rows }: Value, { options, keyHeads, keys, headSize, valueSize }: AttendAttributes) {
  const see: Visibility = { ...options.settings, queryOffset: options.queryOffset, keyLength: options.keyLength }
  const sizes = { queries: rows, keys, headSize, valueSize, taskHeads: batch * keyHeads }
  const distinct = Math.max(options.queryOffset.length, options.keyLength.length) > 1 ? batch : 1
  return Array.from({ length: distinct }, (_, b) => keySegments(sizes, see, b))
}

/** Work of the whole operation. */
export function attendBackwardFlops({
  inputs: [query, , , context],
  attributes: { forward },
}: Operation<'attend-backward'>): number {
  const { batch, rows } = query as Value
  const attend = { attributes: forward, outputs: [context as Value] } as unknown as Operation<'attend'>
  return FLOP_RATIO * attendFlops(attend, { batch: 0, rowStart: 0, rows: batch * rows })
}
