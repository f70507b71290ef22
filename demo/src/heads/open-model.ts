import { CausalLanguageModel, readSafetensors, readStateDict, type CausalLanguageModelOptions } from 'heddle/nn'
import { CharacterTokenizer, WordTokenizer, type Tokenizer } from 'heddle/train'
import { turn } from '../turn.ts'

/** What a model's tokens are: pieces of text, or symbols that have numbers only. */
export type ModelTokens =
  | { readonly kind: 'text'; readonly tokenizer: Tokenizer; readonly pieces: readonly string[] }
  | { readonly kind: 'symbols'; readonly size: number }

export interface NamedModel {
  readonly name: string
  readonly model: CausalLanguageModel
  readonly tokens: ModelTokens
}

/** More is no model that this page could show. */
const LARGEST_BYTES = 256 * 2 ** 20

/** A file that the reader chose. @throws as `openModel` does, and when the file is too large */
export async function openModelFile(file: File): Promise<NamedModel> {
  if (file.size > LARGEST_BYTES)
    throw new Error(
      `expected a model of at most ${LARGEST_BYTES / 2 ** 20} MiB, got ${Math.ceil(file.size / 2 ** 20)} MiB`,
    )
  return openModel(file.name, new Uint8Array(await file.arrayBuffer()))
}

/**
 * A model that `heddle train` wrote: a safetensors file that says how the model was made and, for a model of text, what
 * its tokens are. The page gets a turn between the steps.
 *
 * @throws when it is another file; the message says what was expected
 */
export async function openModel(name: string, bytes: Uint8Array): Promise<NamedModel> {
  const { metadata } = await readSafetensors(bytes)
  const made = parsed(metadata.model)
  if (typeof made !== 'object' || made === null)
    throw new Error('expected a model that “heddle train” wrote, got a safetensors file without its options')
  await turn()
  const model = new CausalLanguageModel({ ...(made as CausalLanguageModelOptions), dropout: 0 })
  await turn()
  const state = await readStateDict(bytes)
  await turn()
  model.loadStateDict(state)
  await turn()
  return { name, model, tokens: tokensOf(parsed(metadata.pieces), model) }
}

function tokensOf(pieces: unknown, { vocabulary }: CausalLanguageModel): ModelTokens {
  if (pieces === null) return { kind: 'symbols', size: vocabulary }
  if (!Array.isArray(pieces) || pieces.length !== vocabulary || !pieces.every((piece) => typeof piece === 'string'))
    throw new Error(`expected the text of ${vocabulary} tokens in the file, got something else`)
  const isCharacters = pieces.every((piece: string) => [...piece].length === 1)
  return {
    kind: 'text',
    pieces,
    tokenizer: isCharacters ? new CharacterTokenizer(pieces) : new WordTokenizer(pieces),
  }
}

function parsed(text: string | undefined): unknown {
  try {
    return JSON.parse(text ?? 'null')
  } catch {
    return undefined
  }
}
