import * as tf from '@tensorflow/tfjs-core'
import '@tensorflow/tfjs-core/dist/register_all_gradients'
import * as webgpu from '@tensorflow/tfjs-backend-webgpu'
import { attention, multiHeadAttention, registerWebGpu } from 'heddle/tfjs'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { webgpuTolerance } from '../support/error-rule.ts'
import { everyOther } from './support/every-other.ts'
import { expectTfCase, tfCases } from '../tfjs/cases.ts'

describe('heddle/tfjs on the webgpu backend', () => {
  beforeAll(async () => {
    tf.removeBackend('webgpu')
    expect(await registerWebGpu(webgpu)).toBe(true)
    await tf.setBackend('webgpu')
    await tf.ready()
  })

  afterAll(() => tf.removeBackend('webgpu'))

  // The gradients are tfjs's own products and sums: twice the tolerance of our kernels.
  test.each(everyOther(tfCases))('$name: output and gradients', async (tfCase) => {
    expect(tf.getBackend()).toBe('webgpu')
    await expectTfCase(tfCase, { ...webgpuTolerance, floor: 2e-5 })
  })

  test.runIf(inject('isolated'))(
    'works on tensors that tfjs has just computed, and leaves the buffers to it',
    async () => {
      const x = tf.randomNormal([1, 2, 33, 20], 0, 1, 'float32', 3)
      const before = tf.memory()
      const scaled = tf.mul<tf.Tensor4D>(x, 1.5)
      const [output, expected] = [
        tf.tidy(() => tf.add(attention(scaled, x, x), 1)),
        tf.tidy(() => tf.add(tf.matMul(tf.softmax(tf.mul(tf.matMul(scaled, x, false, true), 20 ** -0.5)), x), 1)),
      ]
      const [is, should] = await Promise.all([output.data<'float32'>(), expected.data<'float32'>()])
      expect(Math.max(...is.map((value, at) => Math.abs(value - (should[at] as number))))).toBeLessThan(2e-5)
      tf.dispose([output, expected, scaled])
      expect(tf.memory().numTensors).toBe(before.numTensors)
      expect(tf.memory().numBytes).toBe(before.numBytes)
    },
  )

  test.runIf(!inject('isolated'))('a gradient reaches every projection of multi-head attention', async () => {
    const kernels = [2, 3, 4, 5].map((seed) => tf.randomNormal([12, 12], 0, 0.3, 'float32', seed))
    const x = tf.randomNormal([2, 5, 12], 0, 1, 'float32', 1)
    const gradients = tf.grads((...given) => {
      const [query, key, value, output] = given.map((kernel) => ({ kernel })) as [
        { kernel: tf.Tensor },
        { kernel: tf.Tensor },
        { kernel: tf.Tensor },
        { kernel: tf.Tensor },
      ]
      return tf.sum(tf.square(multiHeadAttention(x, x, { heads: 3, projections: { query, key, value, output } })))
    })(kernels)
    for (const gradient of gradients) expect((await gradient.data()).some((value) => value !== 0)).toBe(true)
    tf.dispose([kernels, gradients, x])
  })
})
