import type * as TfjsWasm from '@tensorflow/tfjs-backend-wasm'
import type * as Tfjs from '@tensorflow/tfjs-core'
import type * as Heddle from 'heddle'
import { oneNodeModel } from '../onnx/one-node-model.ts'

/** Self-attention of one batch: H heads of D over n tokens, no mask. Rows lie as [n, H, D]. */
export interface PeerShape {
  readonly tokens: number
  readonly heads: number
  readonly headSize: number
}

export interface PeerData {
  readonly query: Float32Array
  readonly key: Float32Array
  readonly value: Float32Array
}

/** One forward pass to the end: resolves with the output as [n, H, D]. */
export type Run = () => Promise<Float32Array>

/** Where an environment finds the packages: a module by name, and a file's address. */
export interface Packages {
  load(name: string): Promise<unknown>
  address(name: string): string
}

export interface Contender {
  readonly name: string
  /** the package that must be installed, or null */
  readonly needs: string | null
  readonly where: 'node' | 'everywhere'
  prepare(shape: PeerShape, data: PeerData, packages: Packages): Promise<Run>
}

export const CONTENDERS: readonly Contender[] = [
  {
    name: 'heddle, 1 worker',
    needs: null,
    where: 'everywhere',
    prepare: (shape, data, packages) => heddle(shape, data, packages, 1),
  },
  {
    name: 'heddle, all workers',
    needs: null,
    where: 'everywhere',
    prepare: (shape, data, packages) => heddle(shape, data, packages, 'auto'),
  },
  {
    name: 'onnxruntime-web',
    needs: 'onnxruntime-web',
    where: 'everywhere',
    prepare: (shape, data, packages) => onnxruntime(shape, data, packages, 'onnxruntime-web'),
  },
  { name: 'tfjs-wasm', needs: null, where: 'everywhere', prepare: tfjs },
  { name: 'jax-js', needs: '@jax-js/jax', where: 'everywhere', prepare: jax },
  {
    name: 'onnxruntime-node, 1 thread',
    needs: 'onnxruntime-node',
    where: 'node',
    prepare: (shape, data, packages) => onnxruntime(shape, data, packages, 'onnxruntime-node'),
  },
]

async function heddle(
  { tokens, heads, headSize }: PeerShape,
  data: PeerData,
  packages: Packages,
  workers: number | 'auto',
): Promise<Run> {
  const { createRuntime } = (await packages.load('heddle')) as typeof Heddle
  const runtime = await createRuntime({ workers, backend: 'wasm' })
  const shared = (from: Float32Array) => {
    const tensor = runtime.tensor([1, tokens, heads * headSize])
    tensor.data.set(from)
    return tensor
  }
  const inputs = { query: shared(data.query), key: shared(data.key), value: shared(data.value) }
  return async () => (await runtime.attention(inputs, { heads })).output.data
}

interface Onnxruntime {
  readonly env: { readonly wasm: { numThreads: number; wasmPaths?: string } }
  readonly Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => unknown
  readonly InferenceSession: {
    create(
      model: Uint8Array,
      options?: object,
    ): Promise<{ run(feeds: object): Promise<Record<string, { readonly data: Float32Array }>> }>
  }
}

/** The fused MultiHeadAttention of onnxruntime's contributed operators, on one thread. */
async function onnxruntime(
  { tokens, heads, headSize }: PeerShape,
  data: PeerData,
  packages: Packages,
  name: string,
): Promise<Run> {
  const loaded = (await packages.load(name)) as Onnxruntime & { readonly default?: Onnxruntime }
  const ort = 'InferenceSession' in loaded ? loaded : (loaded as { default: Onnxruntime }).default
  if (name === 'onnxruntime-web') ort.env.wasm.numThreads = 1
  const shape = [1, tokens, heads * headSize]
  const model = oneNodeModel({
    operation: 'MultiHeadAttention',
    domain: 'com.microsoft',
    attributes: { num_heads: heads },
    inputs: { query: shape, key: shape, value: shape },
    output: shape,
  })
  const session = await ort.InferenceSession.create(
    model,
    name === 'onnxruntime-node' ? { intraOpNumThreads: 1, interOpNumThreads: 1 } : {},
  )
  const tensor = (values: Float32Array): unknown => new ort.Tensor('float32', values, shape)
  const feeds = { query: tensor(data.query), key: tensor(data.key), value: tensor(data.value) }
  return async () => {
    const { output } = await session.run(feeds)
    if (output === undefined) throw new Error(`${name} gave no output`)
    return output.data
  }
}

/** tfjs has no fused attention: two products with a softmax between, as its users write it; on one thread. */
async function tfjs({ tokens, heads, headSize }: PeerShape, data: PeerData, packages: Packages): Promise<Run> {
  const tf = (await packages.load('@tensorflow/tfjs-core')) as typeof Tfjs
  const wasm = (await packages.load('@tensorflow/tfjs-backend-wasm')) as typeof TfjsWasm
  wasm.setWasmPaths(packages.address('@tensorflow/tfjs-backend-wasm'))
  wasm.setThreadsCount(1)
  await tf.setBackend('wasm')
  await tf.ready()
  const tensor = (values: Float32Array) => tf.transpose(tf.tensor(values, [tokens, heads, headSize]), [1, 0, 2])
  const [query, key, value] = [tensor(data.query), tensor(data.key), tensor(data.value)]
  return async () => {
    const output = tf.tidy(() => {
      const scores = tf.mul(tf.matMul(query, key, false, true), 1 / Math.sqrt(headSize))
      return tf.transpose(tf.matMul(tf.softmax(scores), value), [1, 0, 2])
    })
    const values = (await output.data()) as Float32Array
    output.dispose()
    return values
  }
}

interface Jax {
  readonly numpy: { array(data: Float32Array): { reshape(shape: number[]): JaxArray } }
  readonly nn: {
    dotProductAttention(query: JaxArray, key: JaxArray, value: JaxArray): { data(): Promise<Float32Array> }
  }
  readonly init: (device: 'wasm') => Promise<unknown>
  readonly defaultDevice: (device: 'wasm') => unknown
}

interface JaxArray {
  readonly ref: JaxArray
}

async function jax({ tokens, heads, headSize }: PeerShape, data: PeerData, packages: Packages): Promise<Run> {
  const { init, defaultDevice, numpy, nn } = (await packages.load('@jax-js/jax')) as Jax
  await init('wasm')
  defaultDevice('wasm')
  const array = (values: Float32Array): JaxArray => numpy.array(values).reshape([1, tokens, heads, headSize])
  const [query, key, value] = [array(data.query), array(data.key), array(data.value)]
  return () => nn.dotProductAttention(query.ref, key.ref, value.ref).data()
}
