import type * as TfjsWasm from '@tensorflow/tfjs-backend-wasm'
import type * as Tfjs from '@tensorflow/tfjs-core'
import type * as Heddle from 'heddle'
import type { Packages } from '../peers/contenders.ts'
import type { BackwardData, BackwardShape, Gradients } from './data.ts'

/** One forward and one backward pass to the end; gradients as [n, H, D]. */
export type Run = () => Promise<Gradients>

export const CONTENDERS: Readonly<
  Record<string, (shape: BackwardShape, data: BackwardData, packages: Packages) => Promise<Run>>
> = {
  'heddle, 1 worker': heddle,
  'jax-js': jax,
  'tfjs-wasm': tfjs,
}

async function heddle(
  { tokens, heads, headSize }: BackwardShape,
  data: BackwardData,
  packages: Packages,
): Promise<Run> {
  const { createRuntime } = (await packages.load('heddle')) as typeof Heddle
  const runtime = await createRuntime({ workers: 1, backend: 'wasm' })
  const shared = (from: Float32Array) => {
    const tensor = runtime.tensor([1, tokens, heads * headSize])
    tensor.data.set(from)
    return tensor
  }
  const inputs = { query: shared(data.query), key: shared(data.key), value: shared(data.value) }
  const dOutput = shared(data.dOutput)
  return async () => {
    const { output, logSumExp } = await runtime.attention(inputs, { heads, returnLogSumExp: true })
    if (logSumExp === undefined) throw new Error('heddle gave no log-sum-exp')
    const { dQuery, dKey, dValue } = await runtime.attentionBackward(
      { ...inputs, output, logSumExp, dOutput },
      { heads },
    )
    return { dQuery: dQuery.data, dKey: dKey.data, dValue: dValue.data }
  }
}

/** Two products with a softmax between, and tfjs's own gradients. */
async function tfjs({ tokens, heads, headSize }: BackwardShape, data: BackwardData, packages: Packages): Promise<Run> {
  const tf = (await packages.load('@tensorflow/tfjs-core')) as typeof Tfjs
  await packages.load('tfjs-gradients')
  const wasm = (await packages.load('@tensorflow/tfjs-backend-wasm')) as typeof TfjsWasm
  wasm.setWasmPaths(packages.address('@tensorflow/tfjs-backend-wasm'))
  wasm.setThreadsCount(1)
  await tf.setBackend('wasm')
  await tf.ready()
  const tensor = (values: Float32Array) => tf.tensor(values, [tokens, heads, headSize])
  const inputs = [tensor(data.query), tensor(data.key), tensor(data.value)]
  const dOutput = tensor(data.dOutput)
  const attend = (query: Tfjs.Tensor, key: Tfjs.Tensor, value: Tfjs.Tensor) => {
    const [q, k, v] = [query, key, value].map((each) => tf.transpose(each, [1, 0, 2])) as [
      Tfjs.Tensor,
      Tfjs.Tensor,
      Tfjs.Tensor,
    ]
    const scores = tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(headSize))
    return tf.transpose(tf.matMul(tf.softmax(scores), v), [1, 0, 2])
  }
  const gradients = tf.grads(attend)
  return async () => {
    const results = tf.tidy(() => gradients(inputs, dOutput))
    const [dQuery, dKey, dValue] = (await Promise.all(results.map((each) => each.data()))) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ]
    results.forEach((each) => each.dispose())
    return { dQuery, dKey, dValue }
  }
}

interface JaxArray {
  readonly ref: JaxArray
  mul(other: JaxArray): JaxArray
  sum(): JaxArray
  reshape(shape: number[]): JaxArray
  data(): Promise<Float32Array>
}

interface Jax {
  readonly numpy: { array(data: Float32Array): JaxArray }
  readonly nn: { dotProductAttention(query: JaxArray, key: JaxArray, value: JaxArray): JaxArray }
  readonly grad: (
    f: (...inputs: JaxArray[]) => JaxArray,
    options: { argnums: number[] },
  ) => (...inputs: JaxArray[]) => JaxArray[]
  readonly init: (device: 'wasm') => Promise<unknown>
  readonly defaultDevice: (device: 'wasm') => unknown
}

async function jax({ tokens, heads, headSize }: BackwardShape, data: BackwardData, packages: Packages): Promise<Run> {
  const { init, defaultDevice, numpy, nn, grad } = (await packages.load('@jax-js/jax')) as Jax
  await init('wasm')
  defaultDevice('wasm')
  const array = (values: Float32Array): JaxArray => numpy.array(values).reshape([1, tokens, heads, headSize])
  const [query, key, value, dOutput] = [array(data.query), array(data.key), array(data.value), array(data.dOutput)]
  const gradients = grad((q, k, v) => nn.dotProductAttention(q, k, v).mul(dOutput.ref).sum(), { argnums: [0, 1, 2] })
  return async () => {
    const results = gradients(query.ref, key.ref, value.ref)
    const [dQuery, dKey, dValue] = (await Promise.all(results.map((each) => each.data()))) as [
      Float32Array,
      Float32Array,
      Float32Array,
    ]
    return { dQuery, dKey, dValue }
  }
}
