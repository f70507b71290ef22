import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-backend-cpu'
import '@tensorflow/tfjs-backend-wasm'
import { closeDefaultRuntime, OptionError, ShapeError, type Tensor } from 'heddle'
import { attention, attentionAsync, multiHeadAttention } from 'heddle/tfjs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { webgpuTolerance } from '../support/error-rule.ts'
import { attentionReference } from '../support/oracle.ts'
import { withRuntime } from '../support/runtimes.ts'
import { fingerprint } from '../support/tensors.ts'
import { expectTfCase, tfCases } from './cases.ts'

describe.each(['cpu', 'wasm'])('heddle/tfjs on the %s backend', (backend) => {
  beforeAll(async () => {
    expect(await tf.setBackend(backend)).toBe(true)
  })

  afterAll(() => closeDefaultRuntime())

  test.each(tfCases)('$name: output and gradients', async (tfCase) => {
    await expectTfCase(tfCase, webgpuTolerance)
  })

  test('the gradients are those of attentionBackward, to the bit: no matrix of scores is made', async () => {
    const n = 1500
    const inputs = [1, 2, 3, 4].map((seed) => tf.randomNormal([2, n, 16], 0, 1, 'float32', seed)) as [
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
    ]
    const onHost = async (each: tf.Tensor): Promise<Tensor> => ({
      data: await each.data<'float32'>(),
      shape: each.shape,
    })
    const [query, key, value, dOutput] = await Promise.all([
      onHost(inputs[0]),
      onHost(inputs[1]),
      onHost(inputs[2]),
      onHost(inputs[3]),
    ])
    const gradients = tf.grads((q, k, v) => attention(q, k, v, { causal: true }))(
      [inputs[0], inputs[1], inputs[2]],
      inputs[3],
    )
    await withRuntime({ workers: 0 }, async (runtime) => {
      const { output, logSumExp } = await runtime.attention(
        { query, key, value },
        { causal: true, returnLogSumExp: true },
      )
      const { dQuery, dKey, dValue } = await runtime.attentionBackward(
        { query, key, value, output, logSumExp: logSumExp, dOutput },
        { causal: true },
      )
      for (const [at, expected] of [dQuery, dKey, dValue].entries())
        expect(fingerprint(await gradients[at]!.data<'float32'>())).toBe(fingerprint(expected.data))
    })
    tf.dispose([inputs, gradients])
  })

  test.each(tfCases)('$name: the same from the pool', async ({ inputs, options }) => {
    const { mask, bias, ...rest } = options
    const [q, k, v] = [inputs.query, inputs.key, inputs.value].map((tensor) =>
      tf.tensor(tensor.data, [...tensor.shape]),
    ) as [tf.Tensor, tf.Tensor, tf.Tensor]
    const over = {
      ...(mask && { mask: tf.tensor(mask.data, [...mask.shape], 'bool') }),
      ...(bias && { bias: tf.tensor(bias.data, [...bias.shape]) }),
    }
    const output = await attentionAsync(q, k, v, { ...rest, ...over })
    expect({ data: await output.data<'float32'>(), shape: output.shape }).toMatchOracle(
      attentionReference(inputs, options).output,
      webgpuTolerance,
    )
    tf.dispose([q, k, v, output, ...Object.values(over)])
  })

  test('multi-head attention is the projections around attention', async () => {
    const x = tf.randomNormal([2, 5, 12], 0, 1, 'float32', 1)
    const projection = (seed: number) => ({
      kernel: tf.randomNormal([12, 12], 0, 0.3, 'float32', seed),
      bias: tf.randomNormal([12], 0, 1, 'float32', seed + 50),
    })
    const projections = { query: projection(2), key: projection(3), value: projection(4), output: projection(5) }
    const by = ({ kernel, bias }: { kernel: tf.Tensor; bias: tf.Tensor }, input: tf.Tensor) =>
      tf.reshape(tf.add(tf.matMul(tf.reshape(input, [10, 12]), kernel), bias), [2, 5, 12])
    const expected = by(
      projections.output,
      attention(by(projections.query, x), by(projections.key, x), by(projections.value, x), { heads: 3, causal: true }),
    )
    const actual = multiHeadAttention(x, x, { heads: 3, causal: true, projections })
    expect([...(await actual.data())]).toEqual([...(await expected.data())])
  })

  test('refuses what it does not know', () => {
    const x = tf.ones([4, 8])
    expect(() => attention(x, x, x, { casual: true } as object)).toThrow(OptionError)
    expect(() => attention(x, tf.ones([4, 7]), x)).toThrow(ShapeError)
    expect(() => attention(x, x, x, { bias: tf.ones([3, 4]) })).toThrow(
      /expected bias to broadcast to \[4, 4\], got \[3, 4\]/,
    )
    expect(() => attention(x, x, tf.ones([4, 8], 'int32'))).toThrow(OptionError)
    const packed = tf.ones<tf.Rank.R3>([2, 4, 6])
    expect(() => attention(packed, packed, packed, { heads: 2, bias: tf.ones([2, 4, 4]) })).toThrow(
      /\[2, 1, 4, 4\] for one per batch or \[1, 2, 4, 4\] for one per head/,
    )
  })
})
