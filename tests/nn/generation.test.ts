import { OptionError, ShapeError, tensor } from 'heddle'
import { CausalLanguageModel, type GeneratedToken, type GenerateOptions, type SampledRow } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { fingerprint } from '../support/tensors.ts'
import { worst } from './worst.ts'

const pools = {
  'the calling thread': useRuntime({ workers: 0 }),
  'two workers': useRuntime({ workers: 2 }),
  'two workers without shared memory': useRuntime({ workers: 2, sharedMemory: 'never' }),
}
const runtime = pools['the calling thread']
const [VOCABULARY, E] = [23, 16]
const sizes = { vocabulary: VOCABULARY, modelDim: E, heads: 4, keyValueHeads: 2, layers: 2, seed: 4 }
const models = {
  rotary: new CausalLanguageModel(sizes),
  sinusoidal: new CausalLanguageModel({ ...sizes, positions: 'sinusoidal' }),
  learned: new CausalLanguageModel({ ...sizes, positions: 'learned', maxLength: 40 }),
}
const model = models.rotary
const random = new Random(31)
const promptOf = (length: number): number[] => Array.from({ length }, () => random.integer(0, VOCABULARY - 1))
const prompts = [promptOf(9), promptOf(1), promptOf(4), promptOf(9)]

const likeliest = (logits: Float32Array): number =>
  logits.indexOf(logits.reduce((best, logit) => Math.max(best, logit), -Infinity))

/** Greedy tokens, and the bits of the logits of each, by sequence. */
async function traced(
  of: CausalLanguageModel,
  given: readonly number[][],
  options: Omit<GenerateOptions, 'maxNewTokens'>,
): Promise<{ tokens: number[][]; bits: string[][] }> {
  const bits: string[][] = given.map(() => [])
  const sample = (logits: Float32Array, { batch }: SampledRow): number => {
    bits[batch]!.push(fingerprint(logits))
    return likeliest(logits)
  }
  const tokens = await of.generate(given, { maxNewTokens: 6, sample, ...options })
  return { tokens: tokens.map((row) => [...row]), bits }
}

async function collected(tokens: AsyncIterable<GeneratedToken>): Promise<GeneratedToken[]> {
  const all: GeneratedToken[] = []
  for await (const token of tokens) all.push(token)
  return all
}

describe('prompts of several lengths in one batch', () => {
  describe.each(Object.entries(pools))('on %s', (_where, pool) => {
    it.each(Object.entries(models))(
      'give each the tokens and the bits of a run alone: %s positions',
      async (_name, each) => {
        const together = await traced(each, prompts, { runtime: pool() })
        for (const [b, prompt] of prompts.entries()) {
          const alone = await traced(each, [prompt], { runtime: pool() })
          expect(together.tokens[b]).toEqual(alone.tokens[0])
          expect(together.tokens[b]!.slice(0, prompt.length)).toEqual(prompt)
          expect(together.bits[b]).toEqual(alone.bits[0])
          expect(new Set(alone.bits[0]).size).toBe(6)
        }
      },
    )

    it('with a window, and with sinks', async () => {
      for (const reach of [{ window: 3 }, { window: 3, sinks: 2 }]) {
        const together = await traced(model, prompts, { runtime: pool(), ...reach })
        for (const [b, prompt] of prompts.entries())
          expect({ tokens: [together.tokens[b]], bits: [together.bits[b]] }).toEqual(
            await traced(model, [prompt], { runtime: pool(), ...reach }),
          )
      }
    })
  })

  it('equal what a tensor of one of them gives, and end where one of its stop tokens comes', async () => {
    const free = await model.generate(prompts, { runtime: runtime(), maxNewTokens: 8, temperature: 4, seed: 2 })
    const stopTokens = free.map((row, b) => (b === 2 ? [] : [row[prompts[b]!.length + 1 + b]!]))
    const stopped = await model.generate(prompts, {
      runtime: runtime(),
      maxNewTokens: 8,
      temperature: 4,
      seed: 2,
      stopTokens,
    })
    for (const [b, row] of free.entries()) {
      const first = prompts[b]!.length
      const end = row.findIndex((token, at) => at >= first && stopTokens[b]!.includes(token))
      expect([...stopped[b]!]).toEqual([...row.slice(0, end < 0 ? row.length : end + 1)])
    }
    expect(new Set(stopped.map(({ length }, b) => length - prompts[b]!.length)).size).toBeGreaterThan(1)
    const [alone] = await model.generate([prompts[0]!], { runtime: runtime(), maxNewTokens: 5 })
    const { data } = await model.generate(tensor(Int32Array.from(prompts[0]!), [9]), {
      runtime: runtime(),
      maxNewTokens: 5,
    })
    expect([...alone!]).toEqual([...data])
  })

  it('stop together at any of several tokens, which fill up a tensor', async () => {
    const prompt = tensor(Int32Array.from([...prompts[0]!, ...prompts[3]!]), [2, 9])
    const options = { runtime: runtime(), maxNewTokens: 12, temperature: 5, seed: 9 }
    const free = await model.generate(prompt, options)
    const stopTokens = [free.data[9 + 2]!, free.data[21 + 9 + 4]!]
    const { data } = await model.generate(prompt, { ...options, stopTokens })
    for (let b = 0; b < 2; b++) {
      const row = free.data.slice(b * 21, (b + 1) * 21)
      const end = row.findIndex((token, at) => at >= 9 && stopTokens.includes(token))
      expect([...data.slice(b * 21, (b + 1) * 21)]).toEqual([...row].map((token, at) => (at > end ? row[end] : token)))
    }
  })
})

describe('a stream', () => {
  it('yields the tokens of generate, step by step', async () => {
    const heard: GeneratedToken[] = []
    const options = {
      runtime: runtime(),
      maxNewTokens: 5,
      temperature: 3,
      seed: 1,
      onToken: (token: GeneratedToken) => heard.push(token),
    }
    const streamed = await collected(model.stream(prompts, options))
    expect(heard).toEqual(streamed)
    expect(streamed.map(({ batch }) => batch)).toEqual(Array.from({ length: 20 }, (_, index) => index % 4))
    const rows = await model.generate(prompts, options)
    for (const { batch, position, token } of streamed) expect(rows[batch]![position]).toBe(token)
    expect(rows.map(({ length }) => length)).toEqual(prompts.map(({ length }) => length + 5))
  })

  it('does no more work once its loop is left', async () => {
    let sampled = 0
    const sample = (): number => sampled++
    for await (const { position } of model.stream([prompts[2]!], { runtime: runtime(), maxNewTokens: 20, sample }))
      if (position === 5) break
    expect(sampled).toBe(2)
  })
})

// Two runs per token would drop each other's packed weights, and pack them all again.
it('a token is one run of the model and its head, and prompts have logits of their last rows alone', async () => {
  const watched = new CausalLanguageModel(sizes)
  const heads: { operations: number; rows: number }[] = []
  const buildHead = watched.buildHead.bind(watched)
  watched.buildHead = (graph, hidden) => {
    heads.push({ operations: graph.operations.length, rows: hidden.rows })
    return buildHead(graph, hidden)
  }
  await watched.generate(prompts, { maxNewTokens: 4, runtime: runtime() })
  expect(heads.map(({ rows }) => rows)).toEqual([1, 1, 1, 1])
  expect(heads.map(({ operations }) => operations > 0)).toEqual([false, true, true, true])
})

describe("a sampler of the caller's", () => {
  it('sees the tokens so far, and decides', async () => {
    const seen: number[][] = []
    const sample = (_: Float32Array, { batch, position, tokens }: SampledRow): number => {
      expect(tokens.length).toBe(position)
      seen.push([batch, ...tokens])
      return (position + batch) % VOCABULARY
    }
    const rows = await model.generate([[7], [1, 2]], { runtime: runtime(), maxNewTokens: 2, sample })
    expect(rows.map((row) => [...row])).toEqual([
      [7, 1, 2],
      [1, 2, 3, 4],
    ])
    expect(seen).toEqual([
      [0, 7],
      [1, 1, 2],
      [0, 7, 1],
      [1, 1, 2, 3],
    ])
  })
})

describe('a window with sinks', () => {
  /** Logits of the last token by the encoder and a mask of its own, all tokens at once. */
  async function reference(tokens: readonly number[], window: number, sinks: number): Promise<Float32Array> {
    const n = tokens.length
    const mask = tensor(
      Uint8Array.from({ length: n * n }, (_, at) => (at % n < sinks || Math.floor(at / n) - (at % n) < window ? 1 : 0)),
      [n, n],
    )
    const { output: embedded } = await model.embedding.forward(tensor(Int32Array.from(tokens), [n]), {
      runtime: runtime(),
    })
    const { output } = await model.encoder.forward(embedded, { runtime: runtime(), causal: true, mask })
    return Float32Array.from({ length: VOCABULARY }, (_, token) => {
      let sum = 0
      for (let c = 0; c < E; c++) sum += output.data[(n - 1) * E + c]! * model.embedding.weight.data[token * E + c]!
      return sum
    })
  }

  it.each([
    [5, 0, 12],
    [4, 2, 12],
    [1, 1, 12],
    [40, 3, 12],
    [30, 4, 700],
  ])('a window of %i and %i sinks after %i tokens', async (window, sinks, length) => {
    const found: Float32Array[] = []
    const prompt = promptOf(length)
    const sample = (logits: Float32Array): number => {
      found.push(logits.slice())
      return likeliest(logits)
    }
    const [row] = await model.generate([prompt], { runtime: runtime(), maxNewTokens: 3, window, sinks, sample })
    for (const [step, logits] of found.entries())
      expect(worst(logits, await reference([...row!.slice(0, length + step)], window, sinks))).toBeLessThan(2e-6)
    const { output } = await model.forward(tensor(Int32Array.from(prompt), [length]), {
      runtime: runtime(),
      window,
      sinks,
    })
    expect(worst(output.data.subarray(-VOCABULARY), found[0]!)).toBeLessThan(2e-6)
  })
})

describe('bad input', () => {
  const call = (given: unknown, options: object): Promise<unknown> =>
    model.generate(given as number[][], { runtime: runtime(), maxNewTokens: 2, ...options })
  it.each<[string, unknown, object, new (...given: never[]) => Error, RegExp]>([
    ['no prompts', [], {}, ShapeError, /a list of at least one prompt, got an empty one/],
    ['an empty prompt', [[1], []], {}, ShapeError, /prompt 1: expected a prompt of at least one token/],
    [
      'a token beyond the vocabulary',
      [[1], [2, VOCABULARY]],
      {},
      OptionError,
      /prompt 1: expected tokens from 0 to 22, got 23/,
    ],
    ['a token that is no integer', [[1.5]], {}, OptionError, /expected tokens from 0 to 22, got 1.5/],
    ['a text', ['abc'], {}, OptionError, /prompt 0: expected an array of tokens or an Int32Array/],
    ['topP of 0', [[1]], { topP: 0 }, OptionError, /topP: expected a number above 0 and up to 1, got number 0/],
    ['topP above 1', [[1]], { topP: 1.1 }, OptionError, /topP/],
    [
      'both kinds of stop tokens',
      [[1]],
      { stopToken: 1, stopTokens: [2] },
      OptionError,
      /stopToken or stopTokens, got both/,
    ],
    [
      'stop tokens for fewer sequences',
      [[1], [2]],
      { stopTokens: [[1]] },
      OptionError,
      /2 lists, one per sequence, got 1/,
    ],
    [
      'a stop token and a list',
      [[1], [2]],
      { stopTokens: [[1], 2] },
      OptionError,
      /stopTokens 1: expected a list of tokens/,
    ],
    ['a stop token beyond the vocabulary', [[1]], { stopTokens: [VOCABULARY] }, OptionError, /from 0 to 22/],
    ['sinks without a window', [[1]], { sinks: 2 }, OptionError, /option window with sinks/],
    ['a window of 0', [[1]], { window: 0 }, OptionError, /window: expected an integer ≥ 1/],
    [
      'a sampler and a temperature',
      [[1]],
      { sample: () => 1, temperature: 1 },
      OptionError,
      /sample or temperature, got both/,
    ],
    ['a sampler that is none', [[1]], { sample: 3 }, OptionError, /sample: expected a function/],
    [
      'a sampler that gives no token',
      [[1], [2]],
      { sample: () => VOCABULARY },
      OptionError,
      /its result for batch 0, position 1: expected an integer from 0 to 22/,
    ],
    ['an unknown name', [[1]], { stopTokenz: 1 }, OptionError, /did you mean stopToken/],
  ])('%s', async (_name, given, options, Class, message) => {
    await expect(call(given, options)).rejects.toThrow(message)
    await expect(call(given, options)).rejects.toThrow(Class)
  })

  it('a stream refuses it at once', () => {
    expect(() => model.stream([], { maxNewTokens: 1 })).toThrow(ShapeError)
    expect(() => model.stream([[1]], { maxNewTokens: 1, topP: 2 })).toThrow(OptionError)
  })
})
