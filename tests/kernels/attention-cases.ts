import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { filled, integerTensor, maskTensor, normalTensor } from '../support/tensors.ts'

export interface Sizes {
  readonly M: number
  readonly N: number
  readonly D: number
  readonly Dv: number
}

export function inputsOf({ M, N, D, Dv }: Sizes, seed: number): AttentionInputs {
  const random = new Random(seed)
  return {
    query: normalTensor(random, [M, D], 2),
    key: normalTensor(random, [N, D]),
    value: normalTensor(random, [N, Dv]),
  }
}

/** Every option, alone and together, for some sizes. */
export function optionCases(
  { M, N }: Sizes,
  seed: number,
): readonly { readonly name: string; readonly options: MathOptions }[] {
  const random = new Random(seed)
  const mask = maskTensor(random, [M, N], 0.6)
  const bias = normalTensor(random, [M, N])
  const holes = { ...bias, data: bias.data.map((x) => (random.chance(0.3) ? -Infinity : x)) }
  const segments = { query: integerTensor(random, [1, M], 3), key: integerTensor(random, [1, N], 3) }
  const dropout = { probability: 0.3, seed: 987654321987 }
  return [
    { name: 'no option', options: {} },
    { name: 'a negative scale', options: { scale: -0.7 } },
    { name: 'causal', options: { causal: true } },
    { name: 'causal at the end', options: { causal: true, queryOffset: N - M } },
    { name: 'window', options: { window: { before: 5, after: 3 } } },
    { name: 'causal window', options: { causal: true, queryOffset: 7, window: { before: 40 } } },
    { name: 'key length', options: { keyLengths: Int32Array.of(Math.floor(N * 0.7)) } },
    { name: 'mask', options: { mask } },
    { name: 'mask of one row', options: { mask: maskTensor(random, [1, N], 0.5) } },
    { name: 'mask of one column', options: { mask: maskTensor(random, [M, 1], 0.5) } },
    { name: 'bias', options: { bias } },
    { name: 'bias with −∞', options: { bias: holes } },
    { name: 'bias of one row', options: { bias: normalTensor(random, [1, N]) } },
    { name: 'softcap', options: { softcap: 2 } },
    { name: 'ALiBi', options: { alibiSlopes: Float32Array.of(0.25), queryOffset: 3 } },
    { name: 'segments', options: { segments } },
    { name: 'dropout', options: { dropout } },
    { name: 'dropout of all', options: { dropout: { probability: 1, seed: 5 } } },
    {
      name: 'all options',
      options: {
        causal: true,
        queryOffset: Math.max(0, N - M),
        window: { before: 200 },
        mask,
        bias: holes,
        softcap: 3,
        alibiSlopes: Float32Array.of(0.05),
        segments,
        dropout,
        keyLengths: Int32Array.of(Math.ceil(N * 0.9)),
      },
    },
  ]
}

/** Rows of different spread, so that some are nearly one-hot. */
export function peakedInputs(sizes: Sizes, seed: number): AttentionInputs {
  const inputs = inputsOf(sizes, seed)
  const { D } = sizes
  return {
    ...inputs,
    query: filled(inputs.query.shape, (at) => (inputs.query.data[at] as number) * (1 + 10 * (Math.floor(at / D) % 3))),
  }
}
