import { MultiHeadAttention } from 'heddle/nn'
import { describe, expect, test } from 'vitest'
import { optionBuilders } from '../support/option-cases.ts'
import type { MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { maskTensor, normalTensor } from '../support/tensors.ts'
import { layerReference } from './layer-reference.ts'
import { worst } from './worst.ts'

const runtimes = {
  'over shared memory': useRuntime({ workers: 2 }),
  'by transfer': useRuntime({ workers: 2, sharedMemory: 'never' }),
  'on the calling thread': useRuntime({ workers: 0 }),
}
const [B, M, N, H, Hkv, D] = [2, 11, 13, 6, 3, 4]
const E = H * D
const random = new Random(311)
const layer = new MultiHeadAttention({ modelDim: E, heads: H, keyValueHeads: Hkv, seed: 4 })
for (const parameter of layer.parameters())
  if (parameter.shape.length === 1) parameter.data.set(normalTensor(random, parameter.shape).data)
const query = normalTensor(random, [B, M, E])
const key = normalTensor(random, [B, N, E])

const dims = { B, H, M, N }
const build = (name: string): MathOptions => optionBuilders[name]!(random, dims)
const bias = normalTensor(random, [1, H, M, N])
const cases: Readonly<Record<string, MathOptions>> = {
  'no option': {},
  causal: build('causal'),
  window: build('window'),
  'a mask of every batch': build('mask'),
  'a mask of every head': { mask: maskTensor(random, [H, M, N]) },
  'a mask of every key': { mask: maskTensor(random, [B, H, 1, N]) },
  'a bias of every head': { bias },
  'a bias of every row': { bias: normalTensor(random, [B, 1, M, 1]) },
  alibiSlopes: build('alibiSlopes'),
  softcap: build('softcap'),
  segments: build('segments'),
  keyLengths: build('keyLengths'),
  'all of them': {
    ...build('causal'),
    ...build('window'),
    ...build('mask'),
    bias,
    ...build('alibiSlopes'),
    ...build('softcap'),
    ...build('segments'),
    ...build('keyLengths'),
  },
}

/** A layer takes a mask of rank 3 as [B, M, N]; here it is one of every head. */
function forLayer(options: MathOptions): object {
  const { mask } = options
  return mask?.shape.length === 3 ? { ...options, mask: { data: mask.data, shape: [1, ...mask.shape] } } : options
}

/** Key j of batch b is hidden where it is no part of the sequence, and no mask is only a length. */
const keyMask = { data: Uint8Array.from({ length: B * N }, (_, at) => Number(at % 5 !== 1 || at > N)), shape: [B, N] }
const asMask = { data: keyMask.data, shape: [B, 1, 1, N] }

describe.each(Object.entries(runtimes))('grouped heads in chunks of four rows, %s', (_, runtime) => {
  test.each(Object.entries(cases))('%s', async (_name, options) => {
    const { output } = await layer.forward(query, { runtime: runtime(), key, chunkSize: 4, ...forLayer(options) })
    expect(worst(output.data, layerReference(layer, query, key, options))).toBeLessThan(1e-5)
  })
  test.each(['segments', 'keyLengths', 'causal'])("a key mask with holes beside the caller's %s", async (name) => {
    const options = build(name)
    const { output } = await layer.forward(query, {
      runtime: runtime(),
      key,
      chunkSize: 4,
      keyMask,
      ...forLayer(options),
    })
    expect(worst(output.data, layerReference(layer, query, key, { ...options, mask: asMask }))).toBeLessThan(1e-5)
    expect(worst(output.data, layerReference(layer, query, key, { mask: asMask }))).toBeGreaterThan(1e-2)
    expect(worst(output.data, layerReference(layer, query, key, options))).toBeGreaterThan(1e-2)
  })
})
