import { FormatError, NumericError, OptionError, ShapeError, type Runtime } from 'heddle'
import { CausalLanguageModel, writeSafetensors } from 'heddle/nn'
import {
  AdamW,
  baselines,
  CharacterTokenizer,
  crossEntropy,
  SGD,
  train,
  WordTokenizer,
  type Batch,
  type TrainOptions,
} from 'heddle/train'
import { createRuntime } from 'heddle'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const VOCABULARY = 7
const LONGEST = 8

function made(more: object = {}): CausalLanguageModel {
  const size = { vocabulary: VOCABULARY, layers: 1, heads: 2, modelDim: 8 }
  return new CausalLanguageModel({ ...size, positions: 'learned', maxLength: LONGEST, seed: 1, ...more })
}

/** Tokens of that shape, some of them given. */
function ints(shape: readonly number[], given: Readonly<Record<number, number>> = {}) {
  const count = shape.reduce((product, size) => product * size, 1)
  return { data: Int32Array.from({ length: count }, (_, place) => given[place] ?? place % VOCABULARY), shape }
}

const good: Batch = { tokens: ints([2, 4]), targets: ints([2, 4]) }
/** A good batch, and then one that is not. */
const second = (bad: object): Partial<TrainOptions> => ({ data: [good, { ...good, ...bad }] })

let runtime: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ workers: 0 })
})
afterAll(() => runtime.close())

/** Trains until something is refused. @returns the steps made before, and the error */
async function refused(model: CausalLanguageModel, options: Partial<TrainOptions>) {
  let [steps, after] = [0, model.stateDict()]
  const run = train(model, { data: () => good, loss: crossEntropy(), optimizer: new AdamW(model), runtime, ...options })
  try {
    for await (const { step } of run) [steps, after] = [step, structuredClone(model.stateDict())]
  } catch (error) {
    if (steps > 0) expect(model.stateDict()).toEqual(after)
    return { steps, error }
  }
  throw new Error('it was taken')
}

async function checkpoint(): Promise<Uint8Array> {
  const model = made()
  const run = train(model, {
    data: () => good,
    loss: crossEntropy(),
    optimizer: new AdamW(model),
    runtime,
    steps: 1,
  })
  for await (const step of run) return step.checkpoint()
  throw new Error('no step')
}

describe('a run refuses, after the steps before it', () => {
  it.each<[string, Partial<TrainOptions>, new (message: string) => Error, string]>([
    [
      'a target out of range, with its place',
      second({ targets: ints([2, 4], { 6: 9 }) }),
      OptionError,
      'train: batch 1: crossEntropy: expected targets from 0 to 6, or -100 to ignore one, got 9 at [1, 2]',
    ],
    [
      'a token out of range, with its place',
      second({ tokens: ints([2, 4], { 5: 7 }) }),
      OptionError,
      'train: batch 1: CausalLanguageModel: tokens: expected tokens from 0 to 6, got 7 at [1, 1]',
    ],
    [
      'targets of another shape',
      second({ targets: ints([2, 3]) }),
      ShapeError,
      'train: batch 1: targets: expected shape [2, 4], as the input has it, got [2, 3]',
    ],
    [
      'rows of numbers for a model of tokens',
      { data: [good, { input: { data: new Float32Array(16), shape: [2, 8] }, targets: ints([2]) }] },
      OptionError,
      'train: batch 1: CausalLanguageModel: tokens: expected data as a Int32Array, got Float32Array',
    ],
    [
      'sequences longer than the model’s positions',
      { data: [good, { tokens: ints([1, 9]), targets: ints([1, 9]) }] },
      OptionError,
      'train: batch 1: PositionalEncoding: expected at most 8 learned positions, got 9',
    ],
    [
      'a position beyond the model’s',
      second({ positions: ints([2, 4], { 3: 8 }) }),
      OptionError,
      'train: batch 1: PositionalEncoding: expected at most 8 learned positions, got 9',
    ],
    [
      'a batch whose targets are all ignored',
      second({ targets: { data: new Int32Array(8).fill(-100), shape: [2, 4] } }),
      OptionError,
      'train: batch 1: crossEntropy: expected at least one target that counts, got none',
    ],
    [
      'what is no batch',
      { data: (index) => (index === 1 ? ('call me ishmael' as never) : good) },
      OptionError,
      'train: batch 1: expected an object, got "call me ishmael"',
    ],
    [
      'a learning rate that is text',
      { schedule: (step) => (step === 1 ? ('0.1' as never) : 0.1) },
      OptionError,
      'train: step 2: learning rate: expected a finite number ≥ 0, got "0.1"',
    ],
    [
      'a held-out target out of range',
      { evaluate: { every: 2, data: [good, { ...good, targets: ints([2, 4], { 0: -3 }) }] } },
      OptionError,
      'evaluate: batch 1: crossEntropy: expected targets from 0 to 6, or -100 to ignore one, got -3 at [0, 0]',
    ],
  ])('%s', async (_, options, Class, message) => {
    const { steps, error } = await refused(made(), options)
    expect((error as Error).message).toBe(message)
    expect(error).toBeInstanceOf(Class)
    expect(steps).toBe(1)
  })

  it.each([
    ['no batch', []],
    ['batches without rows', [{ tokens: ints([0, 4]), targets: ints([0, 4]) }]],
  ])('data with %s, before anything', async (_, data) => {
    const model = made()
    const before = structuredClone(model.stateDict())
    const { steps, error } = await refused(model, { data })
    expect(error).toBeInstanceOf(OptionError)
    expect((error as Error).message).toMatch(/expected at least one (batch|target that counts), got none/)
    expect(steps).toBe(0)
    expect(model.stateDict()).toEqual(before)
  })
})

describe('a loss that is not finite', () => {
  it('is named with the first parameter that is not', async () => {
    const model = made()
    model.embedding.weight.data[3] = NaN
    const { error } = await refused(model, {})
    expect(error).toBeInstanceOf(NumericError)
    expect((error as Error).message).toBe(
      'train: step 1: expected a finite loss, got NaN; the first parameter that is not finite is embedding.weight (NaN at element 3)',
    )
  })

  it.each(['encoder.layers.1.linear1.weight', 'encoder.layers.1.self_attn.in_proj_weight'])(
    'or with the first layer whose output is not, where %s is too large',
    async (name) => {
      const model = made({ layers: 2 })
      model.namedParameters().get(name)?.data.fill(3e38)
      const { error } = await refused(model, {})
      expect(error).toBeInstanceOf(NumericError)
      expect((error as Error).message).toMatch(
        /^train: step 1: expected a finite loss, got NaN; the first layer whose output is not finite is encoder\.layers\.1/,
      )
    },
  )
})

describe('a checkpoint is refused, and the model stays as it is:', () => {
  const refusal = async (model: CausalLanguageModel, options: Partial<TrainOptions>): Promise<Error> => {
    const before = structuredClone(model.stateDict())
    const { steps, error } = await refused(model, options)
    expect(steps).toBe(0)
    expect(model.stateDict()).toEqual(before)
    return error as Error
  }

  it('of another model, with what differs', async () => {
    const error = await refusal(made({ layers: 2, modelDim: 4 }), { resume: await checkpoint() })
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toMatch(
      /^train: resume: .*missing encoder\.layers\.1\.self_attn\.in_proj_weight, .*misshapen embedding\.weight \(expected \[7, 4\], got \[7, 8\]\)/,
    )
  })

  it('of another optimizer, with what differs', async () => {
    const model = made()
    const optimizer = new SGD(model, { learningRate: 1 })
    const error = await refusal(model, { resume: await checkpoint(), optimizer })
    expect(error).toBeInstanceOf(OptionError)
    expect(error.message).toMatch(/^train: resume: .*optimizer\.optimizer: "AdamW" in the checkpoint, "SGD" here/)
  })

  it('cut off, or with no checkpoint in it', async () => {
    const whole = await checkpoint()
    for (const length of [0, 100, whole.length - 1])
      expect(await refusal(made(), { resume: whole.slice(0, length) })).toBeInstanceOf(FormatError)
    const error = await refusal(made(), { resume: writeSafetensors(made().stateDict()) })
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toContain('expected a file of format heddle-checkpoint/1, got undefined')
  })
})

describe('data that is not what it should be', () => {
  it.each([
    [
      'bytes as a text',
      () => CharacterTokenizer.fromText(new Uint8Array(3) as never),
      'expected a string, got Uint8Array',
    ],
    ['an empty text', () => CharacterTokenizer.fromText(''), 'expected a text of one or more characters, got ""'],
    ['an empty text of words', () => WordTokenizer.fromText(''), 'expected a text of one or more characters, got ""'],
    [
      'a character that is not known',
      () => CharacterTokenizer.fromText('ab').encode('abc'),
      'expected characters of the vocabulary, got "c" at character 2',
    ],
    ['a token that is not known', () => CharacterTokenizer.fromText('ab').decode([0, 2]), 'from 0 to 1, got number 2'],
    [
      'more tokens than baselines know',
      () => baselines([good], [{ ...good, targets: ints([2, 4], { 6: 9 }) }], VOCABULARY),
      'baselines: expected tokens from 0 to 6, got 6 before 9 at [1, 2]',
    ],
  ])('%s', (_, call, message) => {
    expect(call).toThrow(OptionError)
    expect(call).toThrow(message)
  })
})
