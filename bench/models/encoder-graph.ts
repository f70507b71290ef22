import type { Tensor } from 'heddle'
import type { OnnxNode } from '../onnx/onnx-model.ts'

interface GraphSizes {
  readonly layers: number
  readonly heads: number
}

type Add = (operation: string, inputs: readonly string[], output: string, extra?: Partial<OnnxNode>) => void

/**
 * BERT's encoder as an ONNX graph over the hub's parameters, with onnxruntime's fused operators for attention and gelu:
 * `ids` and `positions` [1, n] to `hidden` [1, n, E].
 */
export function encoderGraph(
  state: Readonly<Record<string, Tensor>>,
  { layers, heads }: GraphSizes,
): { readonly nodes: readonly OnnxNode[]; readonly weights: Readonly<Record<string, Tensor>> } {
  const nodes: OnnxNode[] = []
  const add: Add = (operation, inputs, output, extra = {}) => nodes.push({ operation, inputs, output, ...extra })
  const weights: Record<string, Tensor> = {}
  for (const [name, tensor] of Object.entries(state)) Object.assign(weights, weightsOf(name, tensor))
  addTypesToPositions(weights)
  for (let layer = 0; layer < layers; layer++) joinBiases(weights, `encoder.layer.${layer}.attention.self`)
  add('Gather', ['embeddings.word_embeddings.weight', 'ids'], 'words')
  add('Gather', ['embeddings.position_embeddings.weight', 'positions'], 'places')
  add('Add', ['words', 'places'], 'sum')
  normalise(add, 'sum', 'embeddings.LayerNorm', layers === 0 ? 'hidden' : 'hidden 0')
  for (let layer = 0; layer < layers; layer++)
    addBlock(add, {
      name: `encoder.layer.${layer}`,
      input: `hidden ${layer}`,
      output: layer === layers - 1 ? 'hidden' : `hidden ${layer + 1}`,
      heads,
    })
  return { nodes, weights }
}

interface BlockPlace {
  readonly name: string
  readonly input: string
  readonly output: string
  readonly heads: number
}

function addBlock(add: Add, { name, input, output, heads }: BlockPlace): void {
  const of = (value: string): string => `${name}: ${value}`
  const linear = (from: string, layer: string, to: string): void => {
    add('MatMul', [from, `${layer}.weight`], `${to} product`)
    add('Add', [`${to} product`, `${layer}.bias`], to)
  }
  for (const part of ['query', 'key', 'value'])
    add('MatMul', [input, `${name}.attention.self.${part}.weight`], of(part))
  add('MultiHeadAttention', [of('query'), of('key'), of('value'), `${name}.attention.self.bias`], of('context'), {
    domain: 'com.microsoft',
    attributes: { num_heads: heads },
  })
  linear(of('context'), `${name}.attention.output.dense`, of('attended'))
  add('Add', [of('attended'), input], of('attended sum'))
  normalise(add, of('attended sum'), `${name}.attention.output.LayerNorm`, of('normed'))
  linear(of('normed'), `${name}.intermediate.dense`, of('wide'))
  add('Gelu', [of('wide')], of('active'), { domain: 'com.microsoft' })
  linear(of('active'), `${name}.output.dense`, of('fed'))
  add('Add', [of('fed'), of('normed')], of('fed sum'))
  normalise(add, of('fed sum'), `${name}.output.LayerNorm`, output)
}

function normalise(add: Add, from: string, norm: string, to: string): void {
  add('LayerNormalization', [from, `${norm}.weight`, `${norm}.bias`], to)
}

/** MatMul takes [in, out]; tables and vectors stay as they are. */
function weightsOf(name: string, tensor: Tensor): Record<string, Tensor> {
  const turned = tensor.shape.length === 2 && !name.startsWith('embeddings.')
  return { [name]: turned ? transposed(tensor) : tensor }
}

function transposed({ data, shape: [rows = 0, columns = 0] }: Tensor): Tensor {
  const turned = new Float32Array(data.length)
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) turned[column * rows + row] = data[row * columns + column]!
  return { data: turned, shape: [columns, rows] }
}

/** All tokens are of type 0: its row joins those of the positions. */
function addTypesToPositions(weights: Record<string, Tensor>): void {
  const types = weights['embeddings.token_type_embeddings.weight']!
  const { data, shape } = weights['embeddings.position_embeddings.weight']!
  const width = shape[1]!
  weights['embeddings.position_embeddings.weight'] = {
    data: data.map((value, index) => value + types.data[index % width]!),
    shape,
  }
  delete weights['embeddings.token_type_embeddings.weight']
}

/** MultiHeadAttention takes the biases of query, key and value as one vector. */
function joinBiases(weights: Record<string, Tensor>, attention: string): void {
  const names = ['query', 'key', 'value'].map((part) => `${attention}.${part}.bias`)
  const data = Float32Array.from(names.flatMap((name) => [...weights[name]!.data]))
  for (const name of names) delete weights[name]
  weights[`${attention}.bias`] = { data, shape: [data.length] }
}
