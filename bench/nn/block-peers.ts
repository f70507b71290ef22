import type * as TfjsWasm from '@tensorflow/tfjs-backend-wasm'
import type * as Tfjs from '@tensorflow/tfjs-core'
import type { Tensor } from 'heddle'
import { onnxModel, type OnnxNode } from '../onnx/onnx-model.ts'

/** One way to run the same post-norm block. */
export interface BlockContender {
  readonly run: () => Promise<Float32Array>
  /** milliseconds that the busiest lane worked in the last run */
  readonly busyMs?: () => number
  /** of so many passes through a stack of blocks: milliseconds a block in which the busiest lane did not work */
  readonly stackOverheads?: (rounds: number) => Promise<number[]>
  readonly close: () => Promise<void>
}

export interface BlockProblem {
  readonly modelDim: number
  readonly heads: number
  readonly feedForwardDim: number
  /** PyTorch's names and layouts */
  readonly state: Readonly<Record<string, Tensor>>
  /** [1, n, modelDim] */
  readonly input: Tensor
}

/** Where an environment finds the packages: a module by name, and a file's address. */
export interface Modules {
  load(name: string): Promise<unknown>
  address(name: string): string
}

interface OnnxRuntime {
  readonly env: { readonly wasm: { numThreads: number } }
  readonly Tensor: new (type: string, data: Float32Array, shape: readonly number[]) => unknown
  readonly InferenceSession: {
    create(
      model: Uint8Array,
    ): Promise<{ run(feeds: object): Promise<Record<string, { data: Float32Array }>>; release(): Promise<void> }>
  }
}

/** The block as an ONNX graph on onnxruntime-web. In Node it computes on one thread, whatever it is told. */
export async function onnxBlock(modules: Modules, problem: BlockProblem, threads: number): Promise<BlockContender> {
  const runtime = (await modules.load('onnxruntime-web')) as OnnxRuntime
  runtime.env.wasm.numThreads = threads
  const { shape } = problem.input
  const { nodes, weights } = blockGraph(problem)
  const session = await runtime.InferenceSession.create(
    onnxModel({ nodes, weights, inputs: [{ name: 'x', shape }], output: { name: 'y', shape } }),
  )
  const feeds = { x: new runtime.Tensor('float32', problem.input.data.slice(), shape) }
  return {
    run: async () => (await session.run(feeds))['y']!.data,
    close: () => session.release(),
  }
}

function blockGraph({ modelDim, heads, feedForwardDim, state }: BlockProblem): {
  nodes: OnnxNode[]
  weights: Record<string, Tensor>
} {
  const parameter = (name: string): Tensor => state[name]!
  const inProj = parameter('self_attn.in_proj_weight').data
  const projection = (index: number): Tensor =>
    transposed({
      data: inProj.slice(index * modelDim * modelDim, (index + 1) * modelDim * modelDim),
      shape: [modelDim, modelDim],
    })
  const weights: Record<string, Tensor> = {
    wq: projection(0),
    wk: projection(1),
    wv: projection(2),
    bqkv: parameter('self_attn.in_proj_bias'),
    wo: transposed(parameter('self_attn.out_proj.weight')),
    bo: parameter('self_attn.out_proj.bias'),
    w1: transposed(parameter('linear1.weight')),
    b1: parameter('linear1.bias'),
    w2: transposed(parameter('linear2.weight')),
    b2: parameter('linear2.bias'),
    g1: parameter('norm1.weight'),
    h1: parameter('norm1.bias'),
    g2: parameter('norm2.weight'),
    h2: parameter('norm2.bias'),
  }
  const node = (
    operation: string,
    inputs: readonly string[],
    output: string,
    extra: Partial<OnnxNode> = {},
  ): OnnxNode => ({ operation, inputs, output, ...extra })
  if (weights['w1']!.shape[1] !== feedForwardDim) throw new Error('block: the state does not fit feedForwardDim')
  return {
    weights,
    nodes: [
      node('MatMul', ['x', 'wq'], 'q'),
      node('MatMul', ['x', 'wk'], 'k'),
      node('MatMul', ['x', 'wv'], 'v'),
      node('MultiHeadAttention', ['q', 'k', 'v', 'bqkv'], 'c', {
        domain: 'com.microsoft',
        attributes: { num_heads: heads },
      }),
      node('MatMul', ['c', 'wo'], 'o'),
      node('Add', ['o', 'bo'], 'ob'),
      node('Add', ['x', 'ob'], 'r1'),
      node('LayerNormalization', ['r1', 'g1', 'h1'], 'n1'),
      node('MatMul', ['n1', 'w1'], 'f1'),
      node('Add', ['f1', 'b1'], 'f1b'),
      node('Relu', ['f1b'], 'f1r'),
      node('MatMul', ['f1r', 'w2'], 'f2'),
      node('Add', ['f2', 'b2'], 'f2b'),
      node('Add', ['n1', 'f2b'], 'r2'),
      node('LayerNormalization', ['r2', 'g2', 'h2'], 'y'),
    ],
  }
}

function transposed({ data, shape: [rows = 0, columns = 0] }: Tensor): Tensor {
  const turned = new Float32Array(data.length)
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) turned[column * rows + row] = data[row * columns + column]!
  return { data: turned, shape: [columns, rows] }
}

/** The block in tfjs operations on its wasm backend (in Node on one thread, whatever it is told). */
export async function tfjsBlock(
  modules: Modules,
  { modelDim, heads, state, input }: BlockProblem,
  threads: number,
): Promise<BlockContender> {
  const tf = (await modules.load('@tensorflow/tfjs-core')) as typeof Tfjs
  const wasm = (await modules.load('@tensorflow/tfjs-backend-wasm')) as typeof TfjsWasm
  wasm.setWasmPaths(modules.address('@tensorflow/tfjs-backend-wasm'))
  wasm.setThreadsCount(threads)
  await tf.setBackend('wasm')
  await tf.ready()
  const n = input.shape[1]!
  const tensorOf = (name: string) => tf.tensor(state[name]!.data.slice(), [...state[name]!.shape])
  const p = Object.fromEntries(Object.keys(state).map((name) => [name, tensorOf(name)]))
  const x = tf.tensor2d(input.data.slice(), [n, modelDim])
  type T = typeof x
  const linear = (from: T, weight: string, bias: string): T =>
    tf.add(tf.matMul(from, p[weight] as T, false, true), p[bias]!)
  const norm = (from: T, name: string): T => {
    const { mean, variance } = tf.moments(from, -1, true)
    return tf.add(
      tf.mul(tf.div(tf.sub(from, mean), tf.sqrt(tf.add(variance, 1e-5))), p[`${name}.weight`]!),
      p[`${name}.bias`]!,
    )
  }
  const forward = (): T => {
    const projected = linear(x, 'self_attn.in_proj_weight', 'self_attn.in_proj_bias')
    const [q, k, v] = tf
      .split(projected, 3, 1)
      .map((part) => tf.transpose(tf.reshape(part, [n, heads, modelDim / heads]), [1, 0, 2]))
    const scores = tf.mul(tf.matMul(q!, k!, false, true), 1 / Math.sqrt(modelDim / heads))
    const context: T = tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), v!), [1, 0, 2]), [n, modelDim])
    const hidden = norm(tf.add(x, linear(context, 'self_attn.out_proj.weight', 'self_attn.out_proj.bias')), 'norm1')
    const fed = linear(tf.relu(linear(hidden, 'linear1.weight', 'linear1.bias')), 'linear2.weight', 'linear2.bias')
    return norm(tf.add(hidden, fed), 'norm2')
  }
  return {
    run: async () => {
      const result = tf.tidy(forward)
      const data = Float32Array.from(await result.data())
      result.dispose()
      return data
    },
    close: () => Promise.resolve(tf.disposeVariables()),
  }
}
