import type * as TfjsWasm from '@tensorflow/tfjs-backend-wasm'
import type * as Tfjs from '@tensorflow/tfjs-core'
import { EPSILON, layerName, LEARNING_RATE, type StepContender, type StepProblem } from './step-problem.ts'

export interface TfjsModules {
  readonly core: typeof Tfjs
  readonly wasm: typeof TfjsWasm
  /** where the backend's wasm files lie */
  readonly files: string
}

/**
 * The model in tfjs operations on its wasm backend, on one thread; embeddings as one-hot rows, whose gradient it has.
 */
export async function tfjsStep({ core: tf, wasm, files }: TfjsModules, problem: StepProblem): Promise<StepContender> {
  wasm.setWasmPaths(files)
  wasm.setThreadsCount(1)
  await tf.setBackend('wasm')
  await tf.ready()
  type T = Tfjs.Tensor
  const { layers, modelDim, heads, vocabulary, batch, tokens: length } = problem.sizes
  const [rows, size] = [batch * length, modelDim / heads]
  const p = Object.fromEntries(
    Object.entries(problem.state).map(([name, { data, shape }]) => [
      name,
      tf.variable(tf.tensor(data.slice(), [...shape])),
    ]),
  )
  const oneHot = (ids: Int32Array): T => tf.cast(tf.oneHot(tf.tensor1d(ids, 'int32'), vocabulary), 'float32')
  const [inputs, wanted] = [oneHot(problem.tokens), oneHot(problem.targets)]
  const positions = tf.tile(tf.tensor2d(problem.positions, [length, modelDim]), [batch, 1])
  const hidden = tf.tensor2d(
    Float32Array.from({ length: length * length }, (_, index) =>
      index % length > Math.floor(index / length) ? -1e9 : 0,
    ),
    [length, length],
  )
  const linear = (from: T, name: string): T =>
    tf.add(tf.matMul(from, p[`${name}weight`]!, false, true), p[`${name}bias`]!)
  const norm = (from: T, name: string): T => {
    const centred = tf.sub(from, tf.mean(from, -1, true))
    const variance = tf.mean(tf.square(centred), -1, true)
    return tf.add(tf.mul(tf.div(centred, tf.sqrt(tf.add(variance, EPSILON))), p[`${name}.weight`]!), p[`${name}.bias`]!)
  }
  const attention = (from: T, layer: number): T => {
    const projected = tf.reshape(linear(from, layerName(layer, 'self_attn.in_proj_')), [batch, length, 3, heads, size])
    const [q, k, v] = tf
      .split(tf.transpose(projected, [2, 0, 3, 1, 4]), 3, 0)
      .map((part) => tf.reshape(part, [batch, heads, length, size]))
    const weights = tf.softmax(tf.add(tf.mul(tf.matMul(q!, k!, false, true), 1 / Math.sqrt(size)), hidden))
    return linear(
      tf.reshape(tf.transpose(tf.matMul(weights, v!), [0, 2, 1, 3]), [rows, modelDim]),
      layerName(layer, 'self_attn.out_proj.'),
    )
  }
  const loss = (): Tfjs.Scalar => {
    const embedding = p['embedding.weight']!
    let x = tf.add(tf.mul(tf.matMul(inputs, embedding), Math.sqrt(modelDim)), positions)
    for (let layer = 0; layer < layers; layer++) {
      x = tf.add(x, attention(norm(x, layerName(layer, 'norm1')), layer))
      x = tf.add(
        x,
        linear(
          tf.relu(linear(norm(x, layerName(layer, 'norm2')), layerName(layer, 'linear1.'))),
          layerName(layer, 'linear2.'),
        ),
      )
    }
    const logits = tf.matMul(norm(x, 'encoder.norm'), embedding, false, true)
    return tf.neg(tf.div(tf.sum(tf.mul(wanted, tf.logSoftmax(logits))), rows))
  }
  const optimizer = tf.train.adam(LEARNING_RATE, 0.9, 0.999, 1e-8)
  return {
    step: async () => {
      const value = optimizer.minimize(loss, true, Object.values(p))
      const [before = NaN] = (await value?.data()) ?? []
      value?.dispose()
      return before
    },
    close: () => Promise.resolve(tf.disposeVariables()),
  }
}
