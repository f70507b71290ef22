import { ShapeError } from '../core/errors.ts'
import { formatShape } from '../core/tensor.ts'

/** Strides of a tensor over [B, H, M, N]; 0 where it is broadcast. */
export interface ScoreStrides {
  readonly batch: number
  readonly head: number
  readonly row: number
  readonly column: number
}

/**
 * How a tensor of `shape` broadcasts to the score shape S, aligned at the right.
 *
 * @param scoreShape S: [M, N], [B, M, N] or [B, H, M, N]
 * @throws {ShapeError} when a size is neither 1 nor that of S, or there are more dimensions than S has
 */
export function broadcastToScores(name: string, shape: readonly number[], scoreShape: readonly number[]): ScoreStrides {
  const lead = scoreShape.length - shape.length
  const fits = lead >= 0 && shape.every((size, axis) => size === 1 || size === scoreShape[lead + axis])
  if (!fits) throw new ShapeError(`attention: expected ${name} to broadcast to ${formatShape(scoreShape)}, got ${formatShape(shape)}`)
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
