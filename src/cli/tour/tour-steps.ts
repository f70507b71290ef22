import type { Runtime, Tensor } from '../../index.ts'
import {
  MultiHeadAttention,
  Parameter,
  sinusoidalTable,
  TransformerBlock,
  xavierUniform,
  type NormEvent,
  type TraceEvent,
} from '../../nn/index.ts'

/** What the tour shows: measured on the way, nothing made up. */
export interface Tour {
  readonly words: readonly string[]
  readonly attention: {
    readonly shapes: Readonly<Record<string, readonly number[]>>
    /** [word][word] */
    readonly weights: readonly (readonly number[])[]
    readonly rowSums: readonly number[]
  }
  readonly multiHead: {
    readonly parameters: Readonly<Record<string, readonly number[]>>
    readonly count: number
    readonly trace: readonly TraceEvent[]
    readonly weights: readonly number[]
  }
  readonly positions: {
    readonly values: readonly (readonly number[])[]
    readonly tokens: readonly {
      readonly word: string
      readonly before: readonly number[]
      readonly after: readonly number[]
    }[]
  }
  readonly block: {
    readonly count: number
    readonly expectedCount: number
    readonly trace: readonly TraceEvent[]
    readonly norms: NormEvent | undefined
  }
}

/** The guide's sizes. */
export const HEAD_SIZE = 64
export const MODEL = { modelDim: 512, heads: 8, feedForwardDim: 2048 } as const
/** First positions × dimensions that are shown. */
const SHOWN = { positions: 10, dimensions: 16, values: 4 } as const

/** The guide's walk over a sentence: attention, heads, positions, a block. */
export async function takeTour(runtime: Runtime, sentence: string): Promise<Tour> {
  const words = sentence.split(/\s+/).filter((word) => word !== '')
  return {
    words,
    attention: await attentionStep(runtime, words),
    multiHead: await multiHeadStep(runtime),
    positions: positionStep(words),
    block: await blockStep(runtime),
  }
}

/** A vector for each distinct word: the same word has the same one. */
function wordVectors(words: readonly string[], size: number): Tensor {
  const distinct = [...new Set(words)]
  const table = new Parameter([distinct.length, size])
  xavierUniform(table, 2017, Math.sqrt((size + distinct.length) / 2))
  const data = new Float32Array(words.length * size)
  words.forEach((word, row) =>
    data.set(table.data.subarray(distinct.indexOf(word) * size, (distinct.indexOf(word) + 1) * size), row * size),
  )
  return { data, shape: [1, words.length, size] }
}

async function attentionStep(runtime: Runtime, words: readonly string[]): Promise<Tour['attention']> {
  const x = wordVectors(words, HEAD_SIZE)
  const { output, weights } = await runtime.attention({ query: x, key: x, value: x }, { returnWeights: true })
  const n = words.length
  const rows = words.map((_, row) => [...(weights?.data.subarray(row * n, (row + 1) * n) ?? [])])
  const shapes = {
    query: x.shape,
    key: x.shape,
    value: x.shape,
    scores: [1, n, n],
    weights: weights?.shape ?? [],
    output: output.shape,
  }
  return { shapes, weights: rows, rowSums: rows.map((row) => row.reduce((sum, weight) => sum + weight, 0)) }
}

/** Batch 2, four tokens. */
async function multiHeadStep(runtime: Runtime): Promise<Tour['multiHead']> {
  const { modelDim, heads } = MODEL
  const layer = new MultiHeadAttention({ modelDim, heads, seed: 1 })
  const trace: TraceEvent[] = []
  const x = { data: wordVectors(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'], modelDim).data, shape: [2, 4, modelDim] }
  const { weights } = await layer.forward(x, { runtime, returnWeights: true, trace: (event) => trace.push(event) })
  const square = [modelDim, modelDim]
  return {
    parameters: { W_Q: square, W_K: square, W_V: square, W_O: layer.outProj.weight.shape },
    count: layer.numParameters(),
    trace,
    weights: weights?.shape ?? [],
  }
}

function positionStep(words: readonly string[]): Tour['positions'] {
  const { positions, dimensions, values } = SHOWN
  const table = sinusoidalTable(Math.max(positions, words.length), MODEL.modelDim).data
  const row = (data: Float32Array, index: number, count: number): number[] => [
    ...data.subarray(index * MODEL.modelDim, index * MODEL.modelDim + count),
  ]
  const vectors = wordVectors(words, MODEL.modelDim).data
  return {
    values: Array.from({ length: positions }, (_, position) => row(table, position, dimensions)),
    tokens: words.map((word, index) => {
      const before = row(vectors, index, values)
      return { word, before, after: row(table, index, values).map((value, c) => value + (before[c] ?? 0)) }
    }),
  }
}

async function blockStep(runtime: Runtime): Promise<Tour['block']> {
  const { modelDim, feedForwardDim } = MODEL
  const block = new TransformerBlock({ ...MODEL, dropout: 0.1, norm: 'post', activation: 'relu', seed: 1 })
  const trace: TraceEvent[] = []
  const norms: NormEvent[] = []
  const x = wordVectors(['a', 'b', 'c', 'd'], modelDim)
  await block.forward(x, { runtime, trace: (event) => trace.push(event), monitorNorms: (event) => norms.push(event) })
  // Four projections and two linear layers with their biases, two norms with weight and bias.
  const expectedCount =
    4 * (modelDim * modelDim + modelDim) + 2 * modelDim * feedForwardDim + feedForwardDim + modelDim + 4 * modelDim
  return { count: block.numParameters(), expectedCount, trace, norms: norms[0] }
}
