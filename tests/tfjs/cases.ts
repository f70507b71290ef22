import * as tf from '@tensorflow/tfjs-core'
import { attention, type TfAttentionOptions } from 'heddle/tfjs'
import { expect } from 'vitest'
import type { Tolerance } from '../support/error-rule.ts'
import { backwardReference } from '../support/oracle-backward.ts'
import { attentionReference } from '../support/oracle.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { integerTensor, maskTensor, normalTensor } from '../support/tensors.ts'

export interface TfCase {
  readonly name: string
  readonly inputs: AttentionInputs
  readonly options: MathOptions
}

const random = new Random(41)
const tensors = (
  query: readonly number[],
  key: readonly number[],
  value: readonly number[] = key,
): AttentionInputs => ({
  query: normalTensor(random, query),
  key: normalTensor(random, key),
  value: normalTensor(random, value),
})
const four = () => tensors([2, 2, 9, 8], [2, 2, 13, 8], [2, 2, 13, 12])

export const tfCases: readonly TfCase[] = [
  {
    name: '[N, D], sizes that are no multiples of four',
    inputs: tensors([5, 6], [7, 6], [7, 3]),
    options: { causal: true, queryOffset: 2 },
  },
  {
    name: '[B, N, D] with a bias for each batch',
    inputs: tensors([2, 5, 8], [2, 7, 8]),
    options: { bias: normalTensor(random, [2, 5, 7]) },
  },
  {
    name: '[B, N, E] with grouped heads',
    inputs: tensors([2, 6, 16], [2, 7, 8]),
    options: { heads: 4, keyValueHeads: 2, causal: true, queryOffset: 1 },
  },
  { name: 'several tiles of 64 columns', inputs: tensors([1, 1, 70, 64], [1, 1, 90, 64]), options: {} },
  { name: 'rows that see no key', inputs: four(), options: { causal: true, queryOffset: -4 } },
  {
    name: 'window, softcap and scale',
    inputs: four(),
    options: { window: { before: 3, after: 2 }, softcap: 2, scale: 0.9 },
  },
  { name: 'mask', inputs: four(), options: { mask: maskTensor(random, [2, 1, 9, 13]) } },
  {
    name: 'mask and bias, both broadcast',
    inputs: four(),
    options: { mask: maskTensor(random, [9, 1], 0.5), bias: normalTensor(random, [2, 1, 13]) },
  },
  {
    name: 'a bias with −∞',
    inputs: four(),
    options: {
      bias: {
        data: Float32Array.from({ length: 117 }, (_, at) => (at % 4 === 0 || at < 13 ? -Infinity : at / 50)),
        shape: [9, 13],
      },
    },
  },
  {
    name: 'ALiBi and key lengths',
    inputs: four(),
    options: { alibiSlopes: Float32Array.of(0.5, 0.1), keyLengths: Int32Array.of(0, 11), queryOffset: 4 },
  },
  {
    name: 'segments',
    inputs: four(),
    options: { segments: { query: integerTensor(random, [2, 9], 3), key: integerTensor(random, [2, 13], 2) } },
  },
  {
    name: 'dropout',
    inputs: four(),
    options: { dropout: { probability: 0.4, seed: 12345678901 }, causal: true, queryOffset: 3 },
  },
]

/**
 * Runs one case with its gradients on tfjs's current backend against the float64 oracles; no tensor may be left over.
 */
export async function expectTfCase({ inputs, options }: TfCase, tolerance: Tolerance): Promise<void> {
  const before = tf.memory().numTensors
  const dOutput = normalTensor(new Random(42), attentionReference(inputs, options).output.shape)
  const given = [inputs.query, inputs.key, inputs.value, ...(options.bias ? [options.bias] : [])].map((tensor) =>
    tf.tensor(tensor.data, [...tensor.shape]),
  )
  const { mask, bias, ...rest } = options
  const maskOf = mask && tf.tensor(Int32Array.from(mask.data), [...mask.shape], 'int32')
  const run = (q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, b?: tf.Tensor): tf.Tensor => {
    const own: TfAttentionOptions = { ...rest, ...(maskOf && { mask: maskOf }), ...(bias && b && { bias: b }) }
    return attention(q, k, v, own)
  }
  const dy = tf.tensor(dOutput.data, [...dOutput.shape])
  const output = run(...(given as [tf.Tensor, tf.Tensor, tf.Tensor]))
  const gradients = tf.grads((...x) => run(...(x as [tf.Tensor, tf.Tensor, tf.Tensor])))(given, dy)
  const reference = attentionReference(inputs, options)
  const backward = backwardReference(inputs, dOutput, options)
  expect({ data: await output.data<'float32'>(), shape: output.shape }).toMatchOracle(reference.output, tolerance)
  const names = ['dQuery', 'dKey', 'dValue', 'dBias'] as const
  for (const [at, gradient] of gradients.entries()) {
    const expected = backward[names[at] as 'dQuery']
    expect({ data: await gradient.data<'float32'>(), shape: gradient.shape }, names[at]).toMatchOracle(
      expected,
      tolerance,
    )
  }
  tf.dispose([given, output, gradients, dy, ...(maskOf ? [maskOf] : [])])
  expect(tf.memory().numTensors).toBe(before)
}
