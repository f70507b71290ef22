import {
  baselines,
  type Batch,
  CharacterTokenizer,
  splitText,
  windowBatches,
  windowsInOrder,
  WordTokenizer,
  type Tokenizer,
} from '../../../train/index.ts'
import { mobyDick, readTextFile } from '../../run/load-text.ts'
import { formatInteger } from '../../terminal/format.ts'
import { UsageError } from '../../usage-error.ts'
import type { TrainSettings } from '../train-settings.ts'
import { describeGrowth, growing, growthStages } from './growing-lengths.ts'
import { joined, prepareRepeats } from './repeats.ts'
import { againstBigram, hashOf, type PreparedTask, type Trained } from './prepared-task.ts'

const HELD_OUT = 0.1
/** Rarer words become the unknown one, so that the head stays small. */
const MOST_WORDS = 8192
/** Held-out windows: enough for three digits of the loss, few enough for every evaluation. */
const VALIDATION_TOKENS = 32_768
/** While windows grow: a character says most about those that follow soon. */
const SHORTEST_WINDOWS = 128
const PROMPT_TOKENS = 32
const WRITTEN_TOKENS = 400
const TEMPERATURE = 0.8

/** A model of one text, whose last tenth is held out. */
export async function prepareText(settings: TrainSettings): Promise<PreparedTask> {
  const { file, tokens: kind, batch, length, seed, steps } = settings
  const { name, text, hint } = file === null ? await mobyDick() : await readTextFile('--file', file)
  const tokenizer =
    kind === 'words' ? WordTokenizer.fromText(text, { maxSize: MOST_WORDS }) : CharacterTokenizer.fromText(text)
  const { training, validation } = splitText(tokenizer.encode(text), HELD_OUT)
  if (validation.length < length + 1) {
    throw new UsageError(
      `expected a text of ${formatInteger(Math.ceil((length + 1) / HELD_OUT))} ${kind} or more for windows of ${formatInteger(length)} (a tenth is held out), got ${formatInteger(training.length + validation.length)}; --length makes windows shorter`,
    )
  }
  const held = windowsInOrder(validation.subarray(0, Math.max(length + 1, VALIDATION_TOKENS + 1)), { batch, length })
  const simple = baselines(windowsInOrder(training, { batch: 1, length }), held, tokenizer.size)
  const repeats = prepareRepeats(settings, training)
  const windows = (sizes: { readonly batch: number; readonly length: number }): ((index: number) => Batch) =>
    windowBatches(training, { ...sizes, seed })
  const stages = growthStages(settings, steps, SHORTEST_WINDOWS)
  return {
    vocabulary: tokenizer.size,
    pieces: tokenizer.vocabulary,
    dataHash: hashOf(text),
    facts: [
      `${name}: ${formatInteger(training.length)} ${kind} to train, ${formatInteger(validation.length)} held out; ${formatInteger(tokenizer.size)} different ones, windows of ${formatInteger(length)}${repeats === null ? describeGrowth(stages) : ''}`,
      ...(hint === undefined ? [] : [hint]),
      ...(repeats === null ? [] : [repeats.fact]),
    ],
    training:
      repeats === null
        ? growing(stages, windows)
        : joined(windows({ batch: batch - repeats.rows, length }), repeats.training),
    validation: held,
    baselines: simple,
    finish: async (trained) => ({
      findings: [againstBigram(trained.loss, simple), ...(repeats === null ? [] : [await repeats.finding(trained)])],
      note: 'The beginning of the held-out part, and how the model goes on:',
      samples: [await writeOn(trained, tokenizer, validation.subarray(0, PROMPT_TOKENS))],
    }),
  }
}

/** What the model writes after the beginning of the held-out part. */
async function writeOn(
  { model, runtime, signal, seed }: Trained,
  tokenizer: Tokenizer,
  prompt: Int32Array,
): Promise<string> {
  const { data } = await model.generate(
    { data: prompt.slice(), shape: [prompt.length] },
    { maxNewTokens: WRITTEN_TOKENS, temperature: TEMPERATURE, seed, runtime, signal },
  )
  return `${tokenizer.decode(data.subarray(0, prompt.length))} ▸ ${tokenizer.decode(data.subarray(prompt.length))}`
}
