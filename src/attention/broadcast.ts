import { ShapeError } from '../core/errors.ts'
import { formatShape } from '../core/tensor.ts'
import type { Layout } from './layout.ts'

/** Strides of a tensor over [B, H, M, N]; 0 where it is broadcast. */
export interface ScoreStrides {
  readonly batch: number
  readonly head: number
  readonly row: number
  readonly column: number
  /** where element (0, 0, 0, 0) stands, if that is not 0: of a bias by distance, whose rows overlap */
  readonly start?: number
}

/**
 * A tensor of rank 3 beside inputs [B, N, H·D] reads like one matrix per batch, but broadcasting makes it one per head.
 * Where B = H it would fit either way, so it is refused.
 *
 * @throws {ShapeError} when a size is neither 1 nor that of S, when there are more dimensions than S has, or when it
 *   could be meant per batch as well as per head
 */
export function checkBroadcast(name: string, shape: readonly number[], { scoreShape, splitsHeads }: Layout): void {
  const lead = scoreShape.length - shape.length
  const fits = lead >= 0 && shape.every((size, axis) => size === 1 || size === scoreShape[lead + axis])
  const unclear = splitsHeads && shape.length === 3
  const [B = 1, H = 1, M, N] = scoreShape
  if (fits && !(unclear && shape[0] === B && B === H && B > 1)) return
  const spellings = unclear
    ? `: ${formatShape([B, 1, M, N])} for one per batch or ${formatShape([1, H, M, N])} for one per head`
    : ''
  throw new ShapeError(
    `attention: expected ${name} to broadcast to ${formatShape(scoreShape)}${spellings}, got ${formatShape(shape)}`,
  )
}

/**
 * How a tensor of `shape` broadcasts to the score shape S, aligned at the right.
 *
 * @throws {ShapeError} as `checkBroadcast`
 */
export function broadcastToScores(name: string, shape: readonly number[], layout: Layout): ScoreStrides {
  checkBroadcast(name, shape, layout)
  const { scoreShape } = layout
  const lead = scoreShape.length - shape.length
  const strides = scoreShape.map(() => 0)
  let step = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis] ?? 1
    if (size !== 1) strides[lead + axis] = step
    step *= size
  }
  const [column = 0, row = 0, third = 0, fourth = 0] = strides.toReversed()
  return scoreShape.length === 4 ? { column, row, head: third, batch: fourth } : { column, row, head: 0, batch: third }
}
