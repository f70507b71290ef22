import { CausalLanguageModel, readSafetensors, readStateDict, type CausalLanguageModelOptions } from 'heddle/nn'
import { CharacterTokenizer, WordTokenizer, type Tokenizer } from 'heddle/train'

/** A language model with the tokens it knows. */
export interface NamedModel {
  readonly name: string
  readonly model: CausalLanguageModel
  readonly tokenizer: Tokenizer
  readonly pieces: readonly string[]
}

/**
 * A model that `heddle train` wrote: a safetensors file that says how the model was made and what its tokens are.
 *
 * @throws when it is another file; the message says what was expected
 */
export async function openModel(name: string, bytes: Uint8Array): Promise<NamedModel> {
  const { metadata } = await readSafetensors(bytes)
  const { model: made, pieces } = metadata
  if (made === undefined || pieces === undefined)
    throw new Error('expected a model that `heddle train` wrote, with its options and tokens in the file; it has none')
  const vocabulary = JSON.parse(pieces) as string[]
  const model = new CausalLanguageModel({ ...(JSON.parse(made) as CausalLanguageModelOptions), dropout: 0 })
  model.loadStateDict(await readStateDict(bytes))
  const isCharacters = vocabulary.every((piece) => [...piece].length === 1)
  return {
    name,
    model,
    pieces: vocabulary,
    tokenizer: isCharacters ? new CharacterTokenizer(vocabulary) : new WordTokenizer(vocabulary),
  }
}
