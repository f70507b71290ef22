import { tensor } from 'heddle'
import { CausalLanguageModel, type GenerateOptions } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'

const runtime = useRuntime({ workers: 0 })
const LOGITS = [0.2, 1, -0.5, 0.7, 0, 0.9]
const [ROWS, STEPS] = [200, 20]
const DRAWS = ROWS * STEPS

/** A model that gives these logits after any token: its last norm is a constant, which the head multiplies. */
function constantModel(logits: readonly number[]): CausalLanguageModel {
  const model = new CausalLanguageModel({
    vocabulary: logits.length,
    modelDim: 2,
    heads: 1,
    feedForwardDim: 1,
    layers: 1,
    tieWeights: false,
  })
  model.encoder.finalNorm!.weight.data.fill(0)
  model.encoder.finalNorm!.bias!.data.set([1, 0])
  logits.forEach((logit, token) => model.head!.weight.data.set([logit, 0], token * 2))
  for (const parameter of model.parameters()) parameter.touch()
  return model
}

const model = constantModel(LOGITS)

/** The tokens that come after a prompt of one token, for each row. */
async function drawn(rows: number, options: GenerateOptions): Promise<number[][]> {
  const { data, shape } = await model.generate(tensor(new Int32Array(rows), [rows, 1]), {
    runtime: runtime(),
    ...options,
  })
  const length = shape[1]!
  return Array.from({ length: rows }, (_, row) => [...data.subarray(row * length + 1, (row + 1) * length)])
}

/** softmax(logits/temperature) over the k largest. */
function probabilities(temperature: number, topK: number): number[] {
  const least = LOGITS.toSorted((a, b) => b - a)[topK - 1]!
  const powers = LOGITS.map((logit) => (logit >= least ? Math.exp(logit / temperature) : 0))
  const sum = powers.reduce((total, power) => total + power, 0)
  return powers.map((power) => power / sum)
}

/** The largest probabilities until they reach a sum, over that sum; 0 for the others. */
function nucleusOf(all: readonly number[], topP: number): number[] {
  const kept = new Set<number>()
  let sum = 0
  for (const token of all.map((_, index) => index).sort((a, b) => all[b]! - all[a]!)) {
    if (sum >= topP - 1e-12) break
    kept.add(token)
    sum += all[token]!
  }
  return all.map((probability, token) => (kept.has(token) ? probability / sum : 0))
}

describe('drawn tokens', () => {
  it.each([
    [0.3, 6],
    [1, 6],
    [4, 6],
    [1, 3],
    [0.5, 2],
    [2, 1],
  ])('are as frequent as softmax says: temperature %f, the best %i', async (temperature, topK) => {
    const tokens = (
      await drawn(ROWS, { maxNewTokens: STEPS, temperature, seed: 8, ...(topK === LOGITS.length ? {} : { topK }) })
    ).flat()
    probabilities(temperature, topK).forEach((probability, token) => {
      const count = tokens.filter((other) => other === token).length
      // Five standard deviations of a binomial count; 0 and all where there is no choice.
      expect(Math.abs(count - probability * DRAWS), `token ${token}`).toBeLessThanOrEqual(
        5 * Math.sqrt(DRAWS * probability * (1 - probability)),
      )
    })
  })

  // 0.34, 0.3, 0.25, … at temperature 1: 0.34 alone reaches 0.3, two reach 0.6; of the best two the first is above a
  // half.
  it.each([
    [1, 6, 0.3],
    [1, 6, 0.6],
    [1, 6, 1],
    [2, 6, 0.8],
    [1, 2, 0.5],
    [1, 2, 0.7],
    [0.2, 4, 1e-9],
  ])(
    'are the likeliest that reach a probability: temperature %f, the best %i, top %f',
    async (temperature, topK, topP) => {
      const tokens = (
        await drawn(ROWS, {
          maxNewTokens: STEPS,
          temperature,
          seed: 3,
          topP,
          ...(topK === LOGITS.length ? {} : { topK }),
        })
      ).flat()
      nucleusOf(probabilities(temperature, topK), topP).forEach((probability, token) => {
        const count = tokens.filter((other) => other === token).length
        expect(Math.abs(count - probability * DRAWS), `token ${token}`).toBeLessThanOrEqual(
          5 * Math.sqrt(DRAWS * probability * (1 - probability)),
        )
      })
    },
  )

  it('are the likeliest at temperature 0, the first of equals', async () => {
    expect(await drawn(2, { maxNewTokens: 3 })).toEqual([
      [1, 1, 1],
      [1, 1, 1],
    ])
    const equals = constantModel([0, 2, 1, 2])
    const { data } = await equals.generate(tensor(Int32Array.of(0), [1]), { runtime: runtime(), maxNewTokens: 2 })
    expect([...data]).toEqual([0, 1, 1])
  })

  it('are the same for a seed, and differ by seed, row and position', async () => {
    const options = { maxNewTokens: 40, temperature: 3 }
    const rows = await drawn(3, { ...options, seed: 1 })
    expect(await drawn(3, { ...options, seed: 1 })).toEqual(rows)
    expect(await drawn(3, { ...options, seed: 1n })).toEqual(rows)
    const others = await drawn(3, { ...options, seed: 2 })
    const all = [...rows, ...others].map((row) => row.join(' '))
    expect(new Set(all).size).toBe(6)
    for (const row of rows) expect(new Set(row).size).toBeGreaterThan(2)
  })
})

describe('a stop token', () => {
  const stopToken = 3
  const options = { maxNewTokens: 8, temperature: 2, seed: 5 }

  it('ends its own row, which it fills; the others go on as they would', async () => {
    const free = await drawn(24, options)
    const ends = free.map((row) => row.indexOf(stopToken))
    // Some rows stop early, some late, and one not at all.
    expect(new Set(ends).size).toBeGreaterThan(3)
    expect(ends).toContain(-1)
    const heard: number[][] = free.map(() => [])
    const stopped = await drawn(24, {
      ...options,
      stopToken,
      onToken: ({ batch, position, token }) => (heard[batch]![position - 1] = token),
    })
    free.forEach((row, index) => {
      const end = ends[index] === -1 ? row.length : ends[index]! + 1
      expect(heard[index]).toEqual(row.slice(0, end))
      expect(stopped[index]).toEqual(row.map((token, at) => (at < end ? token : stopToken)))
    })
  })

  it('ends everything where every row has had it', async () => {
    let steps = 0
    const rows = await drawn(2, { maxNewTokens: 5, stopToken: 1, onToken: () => steps++ })
    expect(steps).toBe(2)
    expect(rows).toEqual([
      [1, 1, 1, 1, 1],
      [1, 1, 1, 1, 1],
    ])
  })
})
