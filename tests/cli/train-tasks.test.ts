import { createRuntime } from '../../src/index.ts'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { exactFinding, measureExactness } from '../../src/cli/train/tasks/exactness.ts'
import { joined, prepareRepeats } from '../../src/cli/train/tasks/repeats.ts'
import { startCopying, wantsCopying } from '../../src/cli/train/copying-start.ts'
import { readSettings } from '../../src/cli/train/train-settings.ts'
import { CausalLanguageModel } from '../../src/nn/index.ts'
import type { Batch } from '../../src/train/index.ts'

type Runtime = Awaited<ReturnType<typeof createRuntime>>
let runtime: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ workers: 0 })
})
afterAll(() => runtime.close())

const batchOf = (rows: number, length: number, tokens: readonly number[], targets: readonly number[]): Batch => ({
  tokens: { data: Int32Array.from(tokens), shape: [rows, length] },
  targets: { data: Int32Array.from(targets), shape: [rows, length] },
})

describe('exactness', () => {
  /** What the untrained model holds likeliest. */
  async function likeliest(model: CausalLanguageModel, { tokens }: Batch): Promise<number[]> {
    const { output } = await model.forward(tokens as NonNullable<typeof tokens>, { runtime })
    const rows = Array.from({ length: output.data.length / model.vocabulary }, (_, place) =>
      output.data.subarray(place * model.vocabulary, (place + 1) * model.vocabulary),
    )
    return rows.map((row) => row.indexOf(Math.max(...row)))
  }

  it('counts sequences without a mistake, and right tokens among those that count', async () => {
    const model = new CausalLanguageModel({ vocabulary: 6, layers: 1, heads: 1, modelDim: 8, seed: 1 })
    const tokens = [0, 1, 2, 3, 4, 5, 5, 3, 1, 0, 2, 4]
    const answers = await likeliest(model, batchOf(3, 4, tokens, tokens))
    const wrong = (place: number): number => ((answers[place] ?? 0) + 1) % 6
    // row 0: all right; row 1: one mistake; row 2: its mistakes do not count
    const targets = answers.map((answer, place) => (place === 5 ? wrong(5) : place > 8 ? -100 : answer))
    const trained = { model, runtime, signal: new AbortController().signal }
    const found = await measureExactness(trained, [batchOf(3, 4, tokens, targets)])
    expect(found).toEqual({ sequences: 3, exact: 2, counted: 9, right: 8 })
    expect(exactFinding(found)).toEqual({
      name: 'at least 99 % of held-out sequences exact',
      passed: false,
      detail: '2 of 3 without a mistake, 88.89 % of the tokens',
    })
    expect(exactFinding({ sequences: 200, exact: 198, counted: 1, right: 1 }).passed).toBe(true)
  })

  it('is none where all tokens are equally likely, or none is a number', async () => {
    const trained = (value: number) => {
      const model = new CausalLanguageModel({ vocabulary: 6, layers: 1, heads: 1, modelDim: 8, seed: 1 })
      model.embedding.weight.data.fill(value)
      model.embedding.weight.touch()
      return { model, runtime, signal: new AbortController().signal }
    }
    for (const value of [0, NaN])
      expect(await measureExactness(trained(value), [batchOf(1, 2, [0, 1], [0, 0])])).toMatchObject({
        exact: 0,
        right: 0,
      })
  })
})

describe('repeats', () => {
  /** Tokens 40 … 79; the lower ones are more frequent. */
  const text = Int32Array.from({ length: 820 }, (_, place) => 79 - Math.floor((Math.sqrt(8 * place + 1) - 1) / 2))
  const settings = { ...readSettings({ task: 'text', repeats: '0.25' }), batch: 4, length: 64 }

  it('are the last rows of each batch: the most frequent tokens, which come again', () => {
    const repeats = prepareRepeats(settings, text)
    expect(repeats?.rows).toBe(1)
    expect(repeats?.fact).toBe(
      '1 of 4 rows of a batch are 32 frequent tokens in a random order that repeats after 3 to 32',
    )
    const windows = (index: number): Batch =>
      batchOf(3, 64, new Array<number>(192).fill(index), new Array<number>(192).fill(7))
    const { tokens, targets } = joined(windows, repeats?.training ?? windows)(5)
    expect([tokens?.shape, targets?.shape]).toEqual([
      [4, 64],
      [4, 64],
    ])
    expect(new Set(tokens?.data.subarray(0, 192))).toEqual(new Set([5]))
    const [own, asked] = [Array.from(tokens?.data.subarray(192) ?? []), Array.from(targets?.data.subarray(192) ?? [])]
    expect([Math.min(...own), Math.max(...own)]).toEqual([
      expect.toSatisfy((token: number) => token >= 40),
      expect.toSatisfy((token: number) => token < 72),
    ])
    const period = own.indexOf(own[0] ?? -1, 1)
    expect(asked.slice(0, period)).toEqual(new Array(period).fill(-100))
    expect(asked.slice(period, -1)).toEqual(own.slice(period + 1))
  })

  it('are none where none are asked for, and must leave rows for both', () => {
    expect(prepareRepeats({ ...settings, repeats: 0 }, text)).toBeNull()
    expect(() => prepareRepeats({ ...settings, length: 4 }, text)).toThrow(
      '--repeats: expected windows of 6 tokens or more, and 3 different ones, got 4 and 32',
    )
    for (const share of [0.05, 0.95])
      expect(() => prepareRepeats({ ...settings, repeats: share }, text)).toThrow(
        `--repeats: expected a share that gives the text and the repetitions a row each of the batch's 4, got ${share}`,
      )
    expect(() => readSettings({ task: 'copy', repeats: '0.5' })).toThrow(
      '--repeats: expected it with --task text, got --task copy',
    )
  })

  it('judge an untrained model to know nothing', async () => {
    const model = new CausalLanguageModel({ vocabulary: 80, layers: 1, heads: 1, modelDim: 8, seed: 1 })
    const finding = await prepareRepeats(settings, text)?.finding({
      model,
      runtime,
      signal: new AbortController().signal,
      seed: 0,
      loss: 4,
    })
    expect(finding).toMatchObject({ name: 'at least 90 % of random tokens right when they repeat', passed: false })
    expect(Number(/^[\d.]+/.exec(finding?.detail ?? '')?.[0])).toBeLessThan(10)
    expect(finding?.detail).toMatch(/chance 3\.13 %$/)
  })
})

describe('a start that copies', () => {
  it('is for tasks that look back', () => {
    expect(
      [{ task: 'induction' }, { task: 'text', repeats: '0.5' }].map((values) => wantsCopying(readSettings(values))),
    ).toEqual([true, true])
    expect(
      [{ task: 'text' }, { task: 'names' }, { task: 'copy' }, { task: 'reverse' }].map((values) =>
        wantsCopying(readSettings(values)),
      ),
    ).toEqual([false, false, false, false])
  })

  it('adds the identity to the last block’s values and output, and makes embeddings larger', () => {
    const made = (): CausalLanguageModel =>
      new CausalLanguageModel({ vocabulary: 6, layers: 2, heads: 2, modelDim: 8, seed: 1 })
    const [before, model] = [made().stateDict(), made()]
    startCopying(model)
    const differences = Object.entries(model.stateDict()).flatMap(([name, { data }]) => {
      const old = before[name]?.data ?? new Float32Array(0)
      return name === 'embedding.weight'
        ? []
        : Array.from(data, (value, place) => ({ name, place, by: value - (old[place] ?? NaN) })).filter(
            ({ by }) => by !== 0,
          )
    })
    // The rows of values are 16 to 23 of in_proj_weight.
    const diagonal = (name: string, rowStart: number) =>
      Array.from({ length: 8 }, (_, row) => ({
        name: `encoder.layers.1.self_attn.${name}`,
        place: (rowStart + row) * 8 + row,
        by: expect.closeTo(1, 6) as number,
      }))
    expect(differences).toEqual([...diagonal('in_proj_weight', 16), ...diagonal('out_proj.weight', 0)])
    expect([...(model.stateDict()['embedding.weight']?.data ?? [])]).toEqual(
      Array.from(before['embedding.weight']?.data ?? [], (value) => Math.fround(value * 5)),
    )
  })

  it('has embeddings times √modelDim, with rotary positions too', async () => {
    const options = { vocabulary: 6, layers: 1, heads: 1, modelDim: 16, seed: 1 }
    const embedded = async (more: object): Promise<Float32Array> => {
      const { embedding } = new CausalLanguageModel({ ...options, ...more })
      return (await embedding.forward({ data: Int32Array.of(3), shape: [1] }, { runtime })).output.data
    }
    const [plain, scaled] = [await embedded({}), await embedded({ scaleEmbeddings: true })]
    expect(plain).toHaveLength(16)
    expect([...scaled]).toEqual([...plain].map((value) => 4 * value))
    expect(() => new CausalLanguageModel({ ...options, scaleEmbeddings: 1 as never })).toThrow(
      'CausalLanguageModel: option scaleEmbeddings',
    )
  })
})
