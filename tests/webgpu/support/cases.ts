import type { AttentionReference } from '../../support/oracle.ts'
import type { MathOptions } from '../../support/problem.ts'
import { Random } from '../../support/random.ts'
import { filled, integerTensor, maskTensor, normalTensor } from '../../support/tensors.ts'

export interface CaseShape {
  readonly B: number
  readonly H: number
  readonly Hkv?: number
  readonly M: number
  readonly N: number
  readonly D: number
  readonly Dv?: number
}

export interface AttentionCase {
  readonly name: string
  readonly shape: CaseShape
  readonly options: MathOptions
  readonly chunkRows?: number
}

const small: CaseShape = { B: 1, H: 2, M: 45, N: 70, D: 16 }
const batched: CaseShape = { B: 2, H: 2, M: 37, N: 41, D: 12, Dv: 20 }

/** Every option of the semantics alone, and the combinations whose order matters. */
export const attentionCases: readonly AttentionCase[] = [
  { name: 'plain', shape: { B: 1, H: 1, M: 64, N: 96, D: 64 }, options: {} },
  { name: 'several tiles and a tail', shape: { B: 1, H: 1, M: 77, N: 333, D: 33, Dv: 47 }, options: {} },
  { name: 'grouped heads', shape: { ...batched, H: 4, Hkv: 2 }, options: { causal: true } },
  { name: 'scale 0', shape: small, options: { scale: 0 } },
  { name: 'a large scale', shape: small, options: { scale: 8 } },
  { name: 'causal', shape: small, options: { causal: true }, chunkRows: 7 },
  { name: 'causal with a cache offset', shape: small, options: { causal: true, queryOffset: 25 }, chunkRows: 20 },
  { name: 'causal, rows before every key', shape: small, options: { causal: true, queryOffset: -10 } },
  { name: 'an offset for each batch', shape: batched, options: { causal: true, queryOffset: Int32Array.of(3, -5) } },
  { name: 'window', shape: small, options: { window: { before: 5, after: 9 } }, chunkRows: 16 },
  { name: 'causal window', shape: small, options: { causal: true, window: { before: 3 } } },
  { name: 'a window before the position', shape: small, options: { window: { before: 9, after: -3 } }, chunkRows: 16 },
  { name: 'a window behind the position', shape: small, options: { window: { before: -40 } } },
  { name: 'mask', shape: small, options: { mask: maskTensor(new Random(1), [1, 2, 45, 70]) }, chunkRows: 13 },
  { name: 'mask that broadcasts rows', shape: batched, options: { mask: maskTensor(new Random(2), [2, 1, 1, 41]) } },
  { name: 'mask that broadcasts keys', shape: batched, options: { mask: maskTensor(new Random(3), [37, 1]) } },
  {
    name: 'bias with −∞',
    shape: small,
    options: { bias: withMinusInfinity(normalTensor(new Random(4), [2, 45, 70])) },
    chunkRows: 32,
  },
  {
    name: 'bias of the lowest float32',
    shape: small,
    options: { bias: filled([45, 70], (at) => (at % 3 === 0 || at < 140 ? -3.4028234663852886e38 : 0)) },
  },
  { name: 'bias that broadcasts rows', shape: batched, options: { bias: normalTensor(new Random(5), [41]) } },
  {
    name: 'ALiBi',
    shape: { ...small, H: 4 },
    options: { alibiSlopes: Float32Array.of(0.5, 0.25, 0, 0.0625), queryOffset: 7 },
  },
  { name: 'softcap', shape: small, options: { softcap: 2, scale: 3 } },
  { name: 'softcap, ALiBi, bias, mask and causal', shape: small, options: everything(new Random(6)) },
  { name: 'segments', shape: batched, options: segments(new Random(7), batched) },
  { name: 'key lengths, one of them 0', shape: batched, options: { keyLengths: Int32Array.of(0, 29) } },
  {
    name: 'dropout',
    shape: batched,
    options: { dropout: { probability: 0.3, seed: 0x1_2345_6789_ab } },
    chunkRows: 11,
  },
  { name: 'dropout of everything', shape: batched, options: { dropout: { probability: 1, seed: 5 } } },
  {
    name: 'dropout with causal',
    shape: { B: 1, H: 1, M: 100, N: 100, D: 8 },
    options: { causal: true, dropout: { probability: 0.5, seed: 9 } },
    chunkRows: 30,
  },
  { name: 'no key at all', shape: { ...small, N: 0 }, options: {} },
  { name: 'one row', shape: { ...small, M: 1, N: 600 }, options: {} },
]

export function inputsOf({ B, H, Hkv = H, M, N, D, Dv = D }: CaseShape) {
  const random = new Random(M * 1000 + N + D)
  return {
    query: normalTensor(random, [B, H, M, D]),
    key: normalTensor(random, [B, Hkv, N, D]),
    value: normalTensor(random, [B, Hkv, N, Dv]),
  }
}

/** The same key, or one whose weight differs by float32 rounding only. */
export function maxIndexAgrees({ maxIndex, weights, problem }: AttentionReference, actual: Int32Array): boolean {
  if (actual.length !== maxIndex.exact.length) return false
  return actual.every((index, row) => {
    const expected = maxIndex.exact[row] as number
    if (index === expected || index < 0 || expected < 0) return index === expected
    const [is, should] = [
      weights.exact[row * problem.N + index] as number,
      weights.exact[row * problem.N + expected] as number,
    ]
    return Math.abs(is - should) <= 1e-6 * should && is !== should
  })
}

function withMinusInfinity(bias: ReturnType<typeof normalTensor>) {
  bias.data.forEach((_, index) => {
    if (index % 5 === 0 || (index >= 70 && index < 140)) bias.data[index] = -Infinity
  })
  return bias
}

function everything(random: Random): MathOptions {
  return {
    causal: true,
    queryOffset: 30,
    softcap: 1.5,
    scale: 0.7,
    window: { before: 50 },
    alibiSlopes: Float32Array.of(0.3, 0.1),
    bias: normalTensor(random, [1, 2, 45, 70]),
    mask: maskTensor(random, [45, 70]),
    dropout: { probability: 0.1, seed: 77 },
  }
}

function segments(random: Random, { B, M, N }: CaseShape): MathOptions {
  return { segments: { query: integerTensor(random, [B, M], 4), key: integerTensor(random, [B, N], 3) } }
}
