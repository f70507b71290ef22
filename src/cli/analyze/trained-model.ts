import { readFile } from 'node:fs/promises'
import { HeddleError } from '../../index.ts'
import {
  CausalLanguageModel,
  readSafetensors,
  type CausalLanguageModelOptions,
  type StateDict,
} from '../../nn/index.ts'
import { CharacterTokenizer, readCheckpoint, WordTokenizer, type Tokenizer } from '../../train/index.ts'
import { isTask, type TrainSettings } from '../train/train-settings.ts'
import { UsageError } from '../usage-error.ts'

/** A model that `heddle train` wrote, with what it was trained on. */
export interface TrainedModel {
  readonly model: CausalLanguageModel
  readonly settings: TrainSettings
  /** null for tasks whose tokens are no text */
  readonly tokenizer: Tokenizer | null
}

/** @throws {UsageError} when the file cannot be read, or is no model of `heddle train` */
export async function readTrainedModel(file: string): Promise<TrainedModel> {
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new UsageError(`expected a model that can be read, got '${file}' (${cause.code ?? 'unreadable'})`, { cause })
  })
  try {
    const { parameters, metadata } = await readContent(bytes)
    const described = descriptionOf(metadata)
    if (described === undefined)
      throw new UsageError(`expected a model of 'heddle train', got a safetensors file without its settings: '${file}'`)
    const model = new CausalLanguageModel(described.options)
    model.loadStateDict(parameters)
    return { model, settings: described.settings, tokenizer: described.tokenizer }
  } catch (cause) {
    if (!(cause instanceof HeddleError)) throw cause
    throw new UsageError(`expected a model of 'heddle train', got '${file}' (${cause.message})`, { cause })
  }
}

interface Content {
  readonly parameters: StateDict
  readonly metadata: Readonly<Record<string, string>>
}

/** Of a model, or of a checkpoint, which keeps what the command stored under names of its own. */
async function readContent(bytes: Uint8Array): Promise<Content> {
  const { tensors, metadata } = await readSafetensors(bytes)
  return metadata['format'] === undefined ? { parameters: tensors as StateDict, metadata } : readCheckpoint(bytes)
}

function descriptionOf(metadata: Readonly<Record<string, string>>):
  | {
      readonly options: CausalLanguageModelOptions
      readonly settings: TrainSettings
      readonly tokenizer: Tokenizer | null
    }
  | undefined {
  const [settings, options, pieces] = [
    parsed(metadata['settings']),
    parsed(metadata['model']),
    parsed(metadata['pieces']),
  ]
  if (typeof settings !== 'object' || settings === null || typeof options !== 'object' || options === null)
    return undefined
  const known = settings as TrainSettings
  if (!isTask(known.task)) return undefined
  const tokenizer = !Array.isArray(pieces)
    ? null
    : known.task === 'text' && known.tokens === 'words'
      ? new WordTokenizer(pieces as string[])
      : new CharacterTokenizer(pieces as string[])
  return { options: options as CausalLanguageModelOptions, settings: known, tokenizer }
}

function parsed(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? 'null')
  } catch {
    return null
  }
}
