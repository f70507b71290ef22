import type { Tensor } from 'heddle'
import type { MultiHeadAttention } from 'heddle/nn'
import { attentionReference } from '../support/oracle.ts'
import type { MathOptions } from '../support/problem.ts'

/** What happens to projected queries and keys, [B, rows, heads·D], before attention. */
type Turn = (projected: Tensor) => Tensor

/**
 * What a multi-head attention layer computes: projections in float64, then the oracle. `turn` is for rotary positions.
 */
export function layerReference(
  layer: MultiHeadAttention,
  query: Tensor,
  key: Tensor,
  options: MathOptions,
  turn: Turn = (projected) => projected,
): Float32Array {
  const { modelDim: E, heads, keyValueHeads, headSize } = layer
  const state = layer.stateDict()
  const [weight, bias] = [state['in_proj_weight']!, state['in_proj_bias']!]
  const others = keyValueHeads * headSize
  const inputs = {
    query: turn(project(query, weight, bias, { first: 0, rows: E })),
    key: turn(project(key, weight, bias, { first: E, rows: others })),
    value: project(key, weight, bias, { first: E + others, rows: others }),
  }
  const attended = attentionReference(inputs, { heads, keyValueHeads, ...options }).output.exact
  return project(
    { data: Float32Array.from(attended), shape: query.shape },
    state['out_proj.weight']!,
    state['out_proj.bias']!,
    { first: 0, rows: E },
  ).data
}

/** x·Wᵀ + b in float64, of the rows of a weight from `first` on. */
function project(
  { data, shape }: Tensor,
  weight: Tensor,
  bias: Tensor,
  { first, rows }: { first: number; rows: number },
): Tensor {
  const width = weight.shape[1]!
  const output = new Float32Array((data.length / width) * rows)
  for (let at = 0; at < output.length; at++) {
    const [row, column] = [Math.floor(at / rows), at % rows]
    let sum = bias.data[first + column]!
    for (let c = 0; c < width; c++) sum += data[row * width + c]! * weight.data[(first + column) * width + c]!
    output[at] = sum
  }
  return { data: output, shape: [...shape.slice(0, -1), rows] }
}

/**
 * Rotary positions in float64 (Su et al. 2021, eq. 34, with pairs D/2 apart): at position p the pair (x_c, x_{c + D/2})
 * of each head turns by p·base^(−2c/D).
 */
export function turnedHeads({ data, shape }: Tensor, headSize: number, base: number): Tensor {
  const [width = 0, rows = 0] = shape.toReversed()
  const half = headSize / 2
  const turned = data.map((value, at) => {
    const position = Math.floor(at / width) % rows
    const c = at % headSize
    const angle = position * base ** ((-2 * (c % half)) / headSize)
    const other = c < half ? -data[at + half]! : data[at - half]!
    return value * Math.cos(angle) + other * Math.sin(angle)
  })
  return { data: turned, shape }
}
