import { loadModel, EmbeddingModel, type TransformerModel } from 'heddle/models'
import type { RowPooling } from 'heddle/nn'
import { OptionError, ShapeError, type Tensor } from 'heddle'
import { AdamW, lossAndGradients, meanSquaredError } from 'heddle/train'
import { beforeAll, describe, expect, test } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'
import { worst } from '../nn/worst.ts'
import { folderOf, ids } from './support/hub-folders.ts'

const runtime = useRuntime({ workers: 2 })
const alone = useRuntime({ workers: 1, sharedMemory: 'never' })
let transformer: TransformerModel

beforeAll(async () => {
  transformer = (await loadModel(folderOf('bert'))).transformer
})

const E = 16
const tokens: Tensor<Int32Array> = {
  data: Int32Array.from({ length: 18 }, (_, at) => 2 + ((at * 7) % 28)),
  shape: [2, 9],
}
/** Two texts in the first sequence, and rows of none; in the second one all rows are of the third text. */
const segments: Tensor<Int32Array> = {
  data: ids(0, 0, 0, 1, 1, 1, 1, -5, -5, 2, 2, 2, 2, 2, 2, 2, 2, 2),
  shape: [2, 9],
}
const target = (count: number): Float32Array => Float32Array.from({ length: count }, (_, at) => Math.sin(at))

/** The rows of [2, 9, E] that each vector [2, S, E] is the mean, or the largest, of. */
function countedRows(pooling: RowPooling, segmented: boolean): number[][] {
  return Array.from({ length: segmented ? 6 : 2 }, (_, at) => {
    const [b, segment] = segmented ? [Math.floor(at / 3), at % 3] : [at, 0]
    const rows = Array.from({ length: 9 }, (__, i) => b * 9 + i).filter(
      (row) => !segmented || segments.data[row] === segment,
    )
    return pooling === 'first' ? rows.slice(0, 1) : pooling === 'last' ? rows.slice(-1) : rows
  })
}

/** What each of these rows adds to column c of their vector, times its element. */
function sharesOf(hidden: Float32Array, rows: readonly number[], c: number, pooling: RowPooling): number[] {
  if (pooling !== 'max') return rows.map(() => 1 / rows.length)
  const values = rows.map((row) => hidden[row * E + c]!)
  return values.map((_, at) => (at === values.indexOf(Math.max(...values)) ? 1 : 0))
}

describe.each(['mean', 'first', 'last', 'max'] as const)('%s', (pooling) => {
  test.each([false, true])('vectors and gradients are those of the rows; segments: %s', async (segmented) => {
    const options = segmented ? { segments } : {}
    const counted = countedRows(pooling, segmented)
    const model = new EmbeddingModel(transformer, { pooling })
    for (const each of [runtime(), alone()]) {
      const hidden = (await transformer.forward(tokens, { runtime: each, ...options })).output.data
      const { output } = await model.forward(tokens, { runtime: each, ...options })
      expect(output.shape).toEqual([2, segmented ? 3 : 1, E])
      const vectors = new Float64Array(counted.length * E)
      const dVectors = target(vectors.length)
      const dHidden = new Float32Array(hidden.length)
      counted.forEach((rows, at) => {
        for (let c = 0; c < E; c++)
          sharesOf(hidden, rows, c, pooling).forEach((share, place) => {
            const element = rows[place]! * E + c
            vectors[at * E + c]! += share * hidden[element]!
            dHidden[element] = share * dVectors[at * E + c]!
          })
      })
      expect(worst(output.data, vectors)).toBeLessThan(1e-6)
      const expected = await transformer.backward(
        tokens,
        { data: dHidden, shape: [2, 9, E] },
        { runtime: each, ...options },
      )
      const dOutput = { data: dVectors, shape: output.shape }
      const { gradients } = await model.backward(tokens, dOutput, { runtime: each, ...options })
      expect(gradients.size).toBe(expected.gradients.size)
      for (const [name, gradient] of gradients)
        expect(worst(gradient.data, expected.gradients.get(name)!.data), name).toBeLessThan(2e-6)
    }
  })
})

test('a model learns from its vectors, also where each batch is packed in another way', async () => {
  const model = new EmbeddingModel((await loadModel(folderOf('bert'))).transformer)
  const optimizer = new AdamW(model, { learningRate: 0.01, weightDecay: 0 })
  const packed = (numbers: Tensor<Int32Array>) => ({
    tokens,
    segments: numbers,
    target: { data: target(6 * E), shape: [2, 3, E] },
  })
  const other = { data: ids(0, 1, 1, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 2, 2), shape: [2, 9] }
  const options = { loss: meanSquaredError(), runtime: runtime() }
  const batches = [packed(segments), packed(other)]
  const losses = async () =>
    Promise.all(batches.map(async (batch) => (await lossAndGradients(model, batch, options)).loss))
  const before = await losses()
  for (let step = 0; step < 40; step++)
    await optimizer.step((await lossAndGradients(model, batches[step % 2]!, options)).gradients)
  const after = await losses()
  // The empty segments of the first batch stay zeros: their part of the loss, Σ sin²/96, stays.
  before.forEach((loss, at) => expect(after[at]).toBeLessThan(0.7 * loss))
})

describe('refused', () => {
  test('another pooling', () => {
    expect(() => new EmbeddingModel(transformer, { pooling: 'sum' as never })).toThrow(
      new OptionError('EmbeddingModel: option pooling: expected "mean" or "first" or "last" or "max", got "sum"'),
    )
  })

  test('numbers of segments beyond the tokens, or none', async () => {
    const model = new EmbeddingModel(transformer)
    for (const number of [-1, 18]) {
      const wrong = { data: new Int32Array(18).fill(number), shape: [2, 9] }
      await expect(model.forward(tokens, { segments: wrong, runtime: runtime() })).rejects.toThrow(OptionError)
    }
  })

  test('a target, a gradient or a mask of the rows', async () => {
    const model = new EmbeddingModel(transformer)
    const rows = { data: new Float32Array(18 * E), shape: [2, 9, E] }
    const options = { loss: meanSquaredError(), runtime: runtime() }
    await expect(model.backward(tokens, rows, { runtime: runtime() })).rejects.toThrow(ShapeError)
    await expect(lossAndGradients(model, { tokens, target: rows }, options)).rejects.toThrow(ShapeError)
    const mask = { data: new Uint8Array(18).fill(1), shape: [2, 9] }
    const one = { data: new Float32Array(2 * E), shape: [2, 1, E] }
    await expect(lossAndGradients(model, { tokens, target: one, mask }, options)).rejects.toThrow(/expected no mask/)
  })
})
