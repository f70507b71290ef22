import type { Tensor } from 'heddle'
import { onnxModel, type OnnxNode } from '../onnx/onnx-model.ts'

/** One query row per head over cached keys and values: query [1, H, 1, D], key and value [1, Hkv, N, D]. */
export interface DecodeProblem {
  readonly heads: number
  readonly keyValueHeads: number
  readonly keys: number
  readonly headSize: number
  readonly query: Tensor
  readonly key: Tensor
  readonly value: Tensor
}

interface OnnxRuntime {
  readonly env: { readonly wasm: { numThreads: number } }
  readonly Tensor: new (type: string, data: Float32Array, shape: readonly number[]) => unknown
  readonly InferenceSession: {
    create(model: Uint8Array): Promise<{ run(feeds: object): Promise<Record<string, { readonly data: Float32Array }>> }>
  }
}

export interface DecodeContender {
  readonly name: string
  run(): Promise<Float32Array>
}

/**
 * onnxruntime-web on one thread. Keys and values are constants of its graph, so that it need not copy them in for each
 * step, as it would have to for a cache that is fed: the best case for it.
 */
export async function onnxDecode(ort: OnnxRuntime, problem: DecodeProblem): Promise<DecodeContender[]> {
  ort.env.wasm.numThreads = 1
  const contenders = [
    { name: 'onnxruntime-web, MultiHeadAttention, keys repeated', model: repeatedHeads(problem) },
    { name: 'onnxruntime-web, MatMul of grouped heads', model: groupedProducts(problem) },
  ]
  return Promise.all(
    contenders.map(async ({ name, model: { bytes, shape } }) => {
      const session = await ort.InferenceSession.create(bytes)
      const feeds = { query: new ort.Tensor('float32', problem.query.data.slice(), shape) }
      return { name, run: async () => (await session.run(feeds))['output']!.data }
    }),
  )
}

interface Model {
  readonly bytes: Uint8Array
  /** of the query */
  readonly shape: readonly number[]
}

/** Its fused attention knows no grouped heads: each key head stands in the graph once per query head. */
function repeatedHeads({ heads, keyValueHeads, keys, headSize, key, value }: DecodeProblem): Model {
  const group = heads / keyValueHeads
  const repeated = ({ data }: Tensor): Tensor => {
    const size = keys * headSize
    const all = new Float32Array(heads * size)
    for (let head = 0; head < heads; head++)
      all.set(data.subarray(Math.floor(head / group) * size, (Math.floor(head / group) + 1) * size), head * size)
    return { data: all, shape: [1, heads, keys, headSize] }
  }
  const shape = [1, 1, heads * headSize]
  const nodes: OnnxNode[] = [
    {
      operation: 'MultiHeadAttention',
      domain: 'com.microsoft',
      inputs: ['query', 'key', 'value'],
      output: 'output',
      attributes: { num_heads: heads },
    },
  ]
  return { shape, bytes: modelOf(nodes, { key: repeated(key), value: repeated(value) }, shape) }
}

/** softmax(Q·Kᵀ)·V with the query heads of a group as rows of one product; K stands transposed. */
function groupedProducts({ heads, keyValueHeads, keys, headSize, key, value }: DecodeProblem): Model {
  const turned = new Float32Array(key.data.length)
  for (let head = 0; head < keyValueHeads; head++) {
    const start = head * keys * headSize
    for (let row = 0; row < keys; row++)
      for (let c = 0; c < headSize; c++)
        turned[start + c * keys + row] = key.data[start + row * headSize + c]! / Math.sqrt(headSize)
  }
  const shape = [keyValueHeads, heads / keyValueHeads, headSize]
  const nodes: OnnxNode[] = [
    { operation: 'MatMul', inputs: ['query', 'key'], output: 'scores' },
    { operation: 'Softmax', inputs: ['scores'], output: 'weights' },
    { operation: 'MatMul', inputs: ['weights', 'value'], output: 'output' },
  ]
  const weights = {
    key: { data: turned, shape: [keyValueHeads, headSize, keys] },
    value: { data: value.data, shape: [keyValueHeads, keys, headSize] },
  }
  return { shape, bytes: modelOf(nodes, weights, shape) }
}

function modelOf(
  nodes: readonly OnnxNode[],
  weights: Readonly<Record<string, Tensor>>,
  shape: readonly number[],
): Uint8Array {
  return onnxModel({ nodes, weights, inputs: [{ name: 'query', shape }], output: { name: 'output', shape } })
}
