import type { Tensor, TensorData } from '../../src/core/tensor.ts'

export interface AttentionInputs {
  readonly query: Tensor
  readonly key: Tensor
  readonly value: Tensor
}

/** The options that change the mathematics. */
export interface MathOptions {
  readonly heads?: number
  readonly keyValueHeads?: number
  readonly causal?: boolean
  readonly queryOffset?: number | Int32Array
  readonly window?: { readonly before?: number; readonly after?: number }
  readonly mask?: Tensor<Uint8Array>
  readonly bias?: Tensor
  /** the oracle has no such option: for calls that are compared with other calls */
  readonly relativeBias?: Tensor
  readonly alibiSlopes?: Float32Array
  readonly softcap?: number
  readonly scale?: number
  readonly segments?: { readonly query: Tensor<Int32Array>; readonly key: Tensor<Int32Array> }
  readonly keyLengths?: Int32Array
  readonly dropout?: { readonly probability: number; readonly seed: number }
}

export type LayoutName = '[N, D]' | '[B, N, D]' | '[B, H, N, D]' | '[B, N, E]'

/** A call in one form: dense [B, H, M, D], [B, Hkv, N, D] and [B, Hkv, N, Dv]. */
export interface Problem {
  readonly layout: LayoutName
  readonly B: number
  readonly H: number
  readonly Hkv: number
  readonly M: number
  readonly N: number
  readonly D: number
  readonly Dv: number
  readonly query: Float32Array
  readonly key: Float32Array
  readonly value: Float32Array
  readonly options: MathOptions
}

export function normalise({ query, key, value }: AttentionInputs, options: MathOptions): Problem {
  const layout = layoutOf(query.shape.length, options)
  const heads = options.heads ?? 1
  const q = splitHeads(query, layout, heads)
  const k = splitHeads(key, layout, options.keyValueHeads ?? heads)
  const v = splitHeads(value, layout, options.keyValueHeads ?? heads)
  const [B, H, M, D] = q.shape
  const [, Hkv, N] = k.shape
  return { layout, B, H, Hkv, M, N, D, Dv: v.shape[3], query: q.data, key: k.data, value: v.data, options }
}

function layoutOf(rank: number, options: MathOptions): LayoutName {
  if (rank === 3) return options.heads === undefined ? '[B, N, D]' : '[B, N, E]'
  return rank === 2 ? '[N, D]' : '[B, H, N, D]'
}

type Shape4 = readonly [number, number, number, number]

function splitHeads(tensor: Tensor, layout: LayoutName, heads: number): { data: Float32Array; shape: Shape4 } {
  const [a = 0, b = 0, c = 0, d = 0] = tensor.shape
  if (layout === '[N, D]') return { data: tensor.data, shape: [1, 1, a, b] }
  if (layout === '[B, N, D]') return { data: tensor.data, shape: [a, 1, b, c] }
  if (layout === '[B, H, N, D]') return { data: tensor.data, shape: [a, b, c, d] }
  return { data: headsFirst(tensor.data, a, b, heads, c / heads), shape: [a, heads, b, c / heads] }
}

/** [B, N, H·D] → [B, H, N, D] */
function headsFirst(data: Float32Array, B: number, N: number, H: number, D: number): Float32Array {
  const out = new Float32Array(data.length)
  let at = 0
  for (let b = 0; b < B; b++)
    for (let h = 0; h < H; h++)
      for (let n = 0; n < N; n++) for (let c = 0; c < D; c++) out[at++] = data[((b * N + n) * H + h) * D + c]!
  return out
}

/** [B, H, N, D] → [B, N, H·D] */
function headsLast(data: Float64Array, B: number, H: number, N: number, D: number): Float64Array {
  const out = new Float64Array(data.length)
  let at = 0
  for (let b = 0; b < B; b++)
    for (let n = 0; n < N; n++)
      for (let h = 0; h < H; h++) for (let c = 0; c < D; c++) out[at++] = data[((b * H + h) * N + n) * D + c]!
  return out
}

interface Laid {
  readonly data: Float64Array
  readonly shape: readonly number[]
}

/** Dense [B, heads, rows, size] in the layout of the call's inputs. */
export function inLayout({ layout, B }: Problem, dense: Float64Array, heads: number, rows: number, size: number): Laid {
  if (layout === '[N, D]') return { data: dense, shape: [rows, size] }
  if (layout === '[B, N, D]') return { data: dense, shape: [B, rows, size] }
  if (layout === '[B, H, N, D]') return { data: dense, shape: [B, heads, rows, size] }
  return { data: headsLast(dense, B, heads, rows, size), shape: [B, rows, heads * size] }
}

/** S without N: [M], [B, M] or [B, H, M]. */
export function rowShape({ layout, B, H, M }: Problem): readonly number[] {
  if (layout === '[N, D]') return [M]
  return layout === '[B, N, D]' ? [B, M] : [B, H, M]
}

/**
 * Where element (b, h, i, j) of the scores stands in a tensor that broadcasts to the score shape, aligned at the right.
 */
export function broadcastIndex({ layout }: Problem, shape: readonly number[], index: Shape4): number {
  const [b, , i, j] = index
  // Without heads there is no axis for them.
  const places = layout === '[B, N, D]' ? [b, i, j] : index
  const skipped = places.length - shape.length
  return shape.reduce((flat, size, axis) => flat * size + (size === 1 ? 0 : places[skipped + axis]!), 0)
}

/** Element (b, h, i, j) of such a tensor. */
export function broadcastAt<Data extends TensorData>(problem: Problem, tensor: Tensor<Data>, index: Shape4): number {
  return tensor.data[broadcastIndex(problem, tensor.shape, index)]!
}
