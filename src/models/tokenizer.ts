import { BackendUnavailableError, FormatError, OptionError } from '../core/errors.ts'
import { describe } from '../core/tensor.ts'
import { readJson, type ModelFiles } from './model-source.ts'

/**
 * Text to token ids and back. `loadModel` makes one with `@huggingface/tokenizers` where it is installed; any other
 * will do.
 */
export interface Tokenizer {
  /**
   * Token ids of a text.
   *
   * @param text any text
   * @param special whether the model's special tokens are added around it
   */
  encode(text: string, special: boolean): Int32Array
  /**
   * The text of token ids; Heddle itself never needs it.
   *
   * @param ids token ids
   */
  decode?(ids: Int32Array): string
}

/** Special tokens around a text. */
export interface SpecialTokens {
  /** ids before the text */
  readonly before: Int32Array
  /** ids after the text */
  readonly after: Int32Array
}

/** What the optional peer exports. */
interface TokenizersModule {
  readonly Tokenizer: new (
    tokenizer: object,
    config: object,
  ) => {
    encode(text: string, options: { add_special_tokens: boolean }): { readonly ids: readonly number[] }
    decode(ids: number[], options: { skip_special_tokens: boolean }): string
  }
}

const PACKAGE = '@huggingface/tokenizers'

/**
 * The tokenizer of a model folder.
 *
 * @throws {FormatError} without a `tokenizer.json`
 * @throws {BackendUnavailableError} where the package is not installed; says how to
 */
export async function loadTokenizer(files: ModelFiles, signal?: AbortSignal): Promise<Tokenizer> {
  const description = await readJson(files, 'tokenizer.json', signal)
  if (description === null)
    throw new FormatError(
      `loadModel: expected tokenizer.json in ${files.place} for texts, found none; pass token ids, or the option tokenizer`,
    )
  const config = (await readJson(files, 'tokenizer_config.json', signal)) ?? {}
  if (typeof description !== 'object' || typeof config !== 'object')
    throw new FormatError('loadModel: expected tokenizer.json and tokenizer_config.json to be JSON objects')
  const { Tokenizer: HuggingFaceTokenizer } = await importTokenizers()
  const tokenizer = new HuggingFaceTokenizer(description, config)
  return {
    encode: (text, special) => Int32Array.from(tokenizer.encode(text, { add_special_tokens: special }).ids),
    decode: (ids) => tokenizer.decode([...ids], { skip_special_tokens: true }),
  }
}

async function importTokenizers(): Promise<TokenizersModule> {
  try {
    return await import('@huggingface/tokenizers')
  } catch (cause) {
    throw new BackendUnavailableError(
      `embed: expected the package ${PACKAGE} for texts, and it could not be loaded; run npm install ${PACKAGE}, or pass token ids`,
      { cause },
    )
  }
}

/** @throws {OptionError} unless it has an `encode` */
export function checkTokenizer(what: string, tokenizer: unknown): asserts tokenizer is Tokenizer {
  if (typeof (tokenizer as Partial<Tokenizer> | null)?.encode !== 'function')
    throw new OptionError(`${what}: expected an object with encode(text, special), got ${describe(tokenizer)}`)
}

/** What a tokenizer puts around a text: found from a text with and without it. */
export function specialTokens(tokenizer: Tokenizer): SpecialTokens {
  const [plain, whole] = [tokenizer.encode('a', false), tokenizer.encode('a', true)]
  for (let at = 0; at + plain.length <= whole.length; at++) {
    if (plain.every((id, index) => whole[at + index] === id))
      return { before: whole.slice(0, at), after: whole.slice(at + plain.length) }
  }
  throw new OptionError(
    `tokenizer: expected encode(text, true) to put tokens around those of encode(text, false), got ${String(whole)} for ${String(plain)}`,
  )
}
