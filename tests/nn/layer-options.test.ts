import type { Tensor } from 'heddle'
import { MultiHeadAttention } from 'heddle/nn'
import { describe, expect, test } from 'vitest'
import { optionBuilders } from '../support/option-cases.ts'
import { attentionReference } from '../support/oracle.ts'
import type { MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { maskTensor, normalTensor } from '../support/tensors.ts'
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
for (const parameter of layer.parameters()) if (parameter.shape.length === 1) parameter.data.set(normalTensor(random, parameter.shape).data)
const query = normalTensor(random, [B, M, E])
const key = normalTensor(random, [B, N, E])

/** x·Wᵀ + b in float64, of the rows of a weight from `first` on. */
function project({ data, shape }: Tensor, weight: Tensor, bias: Tensor, first: number, rows: number): Tensor {
  const count = data.length / E
  const output = new Float32Array(count * rows)
  for (let at = 0; at < output.length; at++) {
    const [row, column] = [Math.floor(at / rows), at % rows]
    let sum = bias.data[first + column]!
    for (let c = 0; c < E; c++) sum += data[row * E + c]! * weight.data[(first + column) * E + c]!
    output[at] = sum
  }
  return { data: output, shape: [...shape.slice(0, -1), rows] }
}

/** What the layer computes, by the oracle. */
function reference(options: MathOptions): Float32Array {
  const state = layer.stateDict()
  const [weight, bias] = [state['in_proj_weight']!, state['in_proj_bias']!]
  const inputs = {
    query: project(query, weight, bias, 0, E),
    key: project(key, weight, bias, E, Hkv * D),
    value: project(key, weight, bias, E + Hkv * D, Hkv * D),
  }
  const attended = attentionReference(inputs, { heads: H, keyValueHeads: Hkv, ...options }).output.exact
  return project({ data: Float32Array.from(attended), shape: [B, M, E] }, state['out_proj.weight']!, state['out_proj.bias']!, 0, E).data
}

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
  'all of them': { ...build('causal'), ...build('window'), ...build('mask'), bias, ...build('alibiSlopes'), ...build('softcap'), ...build('segments'), ...build('keyLengths') },
}

/** A layer takes a mask of rank 3 as [B, M, N]; here it is one of every head. */
function forLayer(options: MathOptions): object {
  const { mask } = options
  return mask?.shape.length === 3 ? { ...options, mask: { data: mask.data, shape: [1, ...mask.shape] } } : options
}

describe.each(Object.entries(runtimes))('grouped heads in chunks of four rows, %s', (_, runtime) => {
  test.each(Object.entries(cases))('%s', async (_name, options) => {
    const { output } = await layer.forward(query, { runtime: runtime(), key, chunkSize: 4, ...forLayer(options) })
    expect(worst(output.data, reference(options))).toBeLessThan(1e-5)
  })
})
