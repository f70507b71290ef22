import { EPSILON, layerName, LEARNING_RATE, type StepContender, type StepProblem } from './step-problem.ts'

/** What is used of a jax-js array. Whoever passes one on gives it away; `ref` keeps it. */
interface Jax {
  readonly ref: Jax
  add(other: Jax | number): Jax
  sub(other: Jax | number): Jax
  mul(other: Jax | number): Jax
  div(other: Jax | number): Jax
  neg(): Jax
  mean(axis?: number, options?: { keepdims: boolean }): Jax
  sum(axis?: number): Jax
  reshape(shape: readonly number[]): Jax
  transpose(order?: readonly number[]): Jax
  data(): Promise<Float32Array>
  dispose(): void
}

type Tree = Record<string, Jax>

export interface JaxModule {
  readonly init: (device: string) => Promise<unknown>
  readonly defaultDevice: (device: string) => unknown
  readonly numpy: {
    readonly array: (values: Float32Array | Int32Array) => Jax
    readonly zerosLike: (array: Jax) => Jax
    readonly matmul: (a: Jax, b: Jax) => Jax
    readonly sqrt: (a: Jax) => Jax
    readonly square: (a: Jax) => Jax
    readonly split: (a: Jax, parts: number, axis: number) => Jax[]
  }
  readonly nn: {
    readonly softmax: (a: Jax, axis?: number) => Jax
    readonly logSoftmax: (a: Jax, axis?: number) => Jax
    readonly relu: (a: Jax) => Jax
    readonly oneHot: (ids: Jax, classes: number) => Jax
  }
  readonly valueAndGrad: (loss: (parameters: Tree) => Jax) => (parameters: Tree) => [Jax, Tree]
  readonly jit: <F>(body: F) => F
}

/** The model in jax-js on its wasm backend, embeddings as one-hot rows, the step as one jitted function. */
export async function jaxStep(
  { init, defaultDevice, numpy: np, nn, valueAndGrad, jit }: JaxModule,
  problem: StepProblem,
): Promise<StepContender> {
  await init('wasm')
  defaultDevice('wasm')
  const { layers, modelDim, heads, vocabulary, batch, tokens: length } = problem.sizes
  const [rows, size] = [batch * length, modelDim / heads]
  const arrayOf = (data: Float32Array, shape: readonly number[]): Jax => np.array(data.slice()).reshape(shape)
  const oneHot = (ids: Int32Array): Jax => nn.oneHot(np.array(ids.slice()), vocabulary)
  const [inputs, wanted] = [oneHot(problem.tokens), oneHot(problem.targets)]
  const positions = arrayOf(problem.positions, [1, length, modelDim])
  const hidden = arrayOf(
    Float32Array.from({ length: length * length }, (_, index) =>
      index % length > Math.floor(index / length) ? -1e9 : 0,
    ),
    [length, length],
  )
  const linear = (from: Jax, p: Tree, name: string): Jax =>
    np.matmul(from, p[`${name}weight`]!.ref.transpose()).add(p[`${name}bias`]!.ref)
  const norm = (from: Jax, p: Tree, name: string): Jax => {
    const centred = from.ref.sub(from.mean(-1, { keepdims: true }))
    const variance = np.square(centred.ref).mean(-1, { keepdims: true })
    return centred
      .div(np.sqrt(variance.add(EPSILON)))
      .mul(p[`${name}.weight`]!.ref)
      .add(p[`${name}.bias`]!.ref)
  }
  const attention = (from: Jax, p: Tree, layer: number): Jax => {
    const projected = linear(from, p, layerName(layer, 'self_attn.in_proj_'))
      .reshape([batch, length, 3, heads, size])
      .transpose([2, 0, 3, 1, 4])
    const [q, k, v] = np.split(projected, 3, 0).map((part) => part.reshape([batch, heads, length, size]))
    const weights = nn.softmax(
      np
        .matmul(q!, k!.transpose([0, 1, 3, 2]))
        .mul(1 / Math.sqrt(size))
        .add(hidden.ref),
      -1,
    )
    return linear(
      np.matmul(weights, v!).transpose([0, 2, 1, 3]).reshape([rows, modelDim]),
      p,
      layerName(layer, 'self_attn.out_proj.'),
    )
  }
  const loss = (p: Tree): Jax => {
    const embedding = p['embedding.weight']!
    let x = np
      .matmul(inputs.ref, embedding.ref)
      .mul(Math.sqrt(modelDim))
      .reshape([batch, length, modelDim])
      .add(positions.ref)
      .reshape([rows, modelDim])
    for (let layer = 0; layer < layers; layer++) {
      x = x.ref.add(attention(norm(x, p, layerName(layer, 'norm1')), p, layer))
      x = x.ref.add(
        linear(
          nn.relu(linear(norm(x, p, layerName(layer, 'norm2')), p, layerName(layer, 'linear1.'))),
          p,
          layerName(layer, 'linear2.'),
        ),
      )
    }
    const logits = np.matmul(norm(x, p, 'encoder.norm'), embedding.ref.transpose())
    for (const parameter of Object.values(p)) parameter.dispose()
    return wanted.ref.mul(nn.logSoftmax(logits, -1)).sum().div(-rows)
  }
  const update = jit((p: Tree, m: Tree, v: Tree, scales: Jax[]): [Jax, Tree, Tree, Tree] => {
    const [value, gradients] = valueAndGrad(loss)(mapTree(p, ({ ref }) => ref))
    const [next, first, second]: [Tree, Tree, Tree] = [{}, {}, {}]
    for (const [name, gradient] of Object.entries(gradients)) {
      first[name] = m[name]!.mul(0.9).add(gradient.ref.mul(0.1))
      second[name] = v[name]!.mul(0.999).add(np.square(gradient).mul(0.001))
      const size = np.sqrt(second[name].ref.mul(scales[1]!.ref)).add(1e-8)
      next[name] = p[name]!.sub(first[name].ref.mul(scales[0]!.ref).div(size))
    }
    for (const scale of scales) scale.dispose()
    return [value, next, first, second]
  })
  let p: Tree = Object.fromEntries(
    Object.entries(problem.state).map(([name, { data, shape }]) => [name, arrayOf(data, shape)]),
  )
  let [m, v] = [mapTree(p, (array) => np.zerosLike(array.ref)), mapTree(p, (array) => np.zerosLike(array.ref))]
  let steps = 0
  return {
    step: async () => {
      steps++
      const scales = [LEARNING_RATE / (1 - 0.9 ** steps), 1 / (1 - 0.999 ** steps)].map((scale) =>
        np.array(Float32Array.of(scale)),
      )
      const [value, ...state] = update(p, m, v, scales)
      ;[p, m, v] = state
      const [before = NaN] = await value.data()
      return before
    },
    close: () => Promise.resolve(),
  }
}

function mapTree(tree: Tree, map: (array: Jax) => Jax): Tree {
  return Object.fromEntries(Object.entries(tree).map(([name, array]) => [name, map(array)]))
}
