import { expected } from '../core/check.ts'
import { asInt32, type IntegerArray } from '../core/integer-arrays.ts'
import { OptionError } from '../core/errors.ts'
import { describe } from '../core/tensor.ts'
import { specialTokens, type SpecialTokens, type Tokenizer } from './tokenizer.ts'

/** Tokens [start, end) of a text, its special tokens counted. */
export interface TokenSpan {
  /** the first token */
  readonly start: number
  /** one past the last token */
  readonly end: number
}

/** A text to embed with all that can be said about it. */
export interface DocumentDetails {
  /** a text, or its token ids with the model's special tokens */
  readonly text?: string
  /** Token ids in place of a text, special tokens included. */
  readonly ids?: IntegerArray
  /** the document as passages one after the other, each of which gets a vector of its own (late chunking) */
  readonly passages?: readonly string[]
  /** spans that get a vector of their own, of the tokens as the model sees them */
  readonly spans?: readonly TokenSpan[]
  /** the type of each token, for models that have types; with `ids` */
  readonly tokenTypes?: IntegerArray
}

/** What can be embedded: a text, its token ids, or either with details. */
export type EmbedInput = string | IntegerArray | DocumentDetails

/** Tokens, checked, and the spans that are wanted of them. */
export interface TokenisedDocument {
  readonly ids: Int32Array
  readonly spans: readonly TokenSpan[] | null
  readonly tokenTypes: Int32Array | null
  /** what a piece of it needs around it; empty where the caller gave ids */
  readonly special: SpecialTokens
}

const NO_SPECIAL: SpecialTokens = { before: new Int32Array(0), after: new Int32Array(0) }
const NAMES = ['text', 'ids', 'passages', 'spans', 'tokenTypes']

/** Turns documents into tokens. */
export class DocumentReader {
  readonly #vocabulary: number
  readonly #tokenizer: () => Promise<Tokenizer>
  #special: SpecialTokens | null = null

  /** @param tokenizer called at the first text */
  constructor(vocabulary: number, tokenizer: () => Promise<Tokenizer>) {
    this.#vocabulary = vocabulary
    this.#tokenizer = tokenizer
  }

  /**
   * @param what names the document in messages @throws {OptionError} for empty texts, ids beyond the vocabulary, and
   * spans outside
   */
  async read(what: string, input: EmbedInput): Promise<TokenisedDocument> {
    const details = detailsOf(what, input)
    const { spans, tokenTypes = null } = details
    const read = await this.#tokens(what, details)
    const { ids } = read
    if (ids.length === 0) throw new OptionError(`${what}: expected at least one token, got an empty text`)
    const wrong = ids.find((id) => id < 0 || id >= this.#vocabulary)
    if (wrong !== undefined) throw expected(what, `token ids from 0 to ${this.#vocabulary - 1}`, wrong)
    const types = tokenTypes === null ? null : asInt32(`${what}: tokenTypes`, tokenTypes)
    if (types !== null && types?.length !== ids.length)
      throw expected(`${what}: tokenTypes`, `an Int32Array of ${ids.length} types, one per token`, tokenTypes)
    if (spans !== undefined) checkSpans(what, spans, ids.length)
    return { ...read, spans: spans ?? read.spans, tokenTypes: types }
  }

  async #tokens(
    what: string,
    { text, ids, passages }: DocumentDetails & { readonly ids?: Int32Array },
  ): Promise<Pick<TokenisedDocument, 'ids' | 'spans' | 'special'>> {
    if (ids !== undefined) return { ids, spans: null, special: NO_SPECIAL }
    const tokenizer = await this.#tokenizer()
    const special = (this.#special ??= specialTokens(tokenizer))
    const parts = (passages ?? [text ?? '']).map((passage) => tokenizer.encode(passage, false))
    const empty = parts.findIndex((part) => part.length === 0)
    if (empty >= 0)
      throw new OptionError(
        `${what}: expected at least one token, got an empty ${passages === undefined ? 'text' : `passage ${empty}`}`,
      )
    if (parts.length === 0) throw new OptionError(`${what}: expected at least one passage, got none`)
    let start = special.before.length
    const spans = parts.map((part) => ({ start, end: (start += part.length) }))
    return {
      ids: concatenate([special.before, ...parts, special.after]),
      spans: passages === undefined ? null : spans,
      special,
    }
  }
}

function detailsOf(what: string, input: EmbedInput): DocumentDetails & { readonly ids?: Int32Array } {
  if (typeof input === 'string') return { text: input }
  const alone = asInt32(what, input)
  if (alone !== undefined) return { ids: alone }
  if (typeof input !== 'object' || input === null || Array.isArray(input) || ArrayBuffer.isView(input))
    throw expected(what, 'a text, an Int32Array of token ids, or an object', input)
  for (const name of Object.keys(input))
    if (!NAMES.includes(name))
      throw new OptionError(`${what}: expected names among ${NAMES.join(', ')}, got ${JSON.stringify(name)}`)
  const { text, ids, passages, spans } = input
  const given = [text, ids, passages].filter((each) => each !== undefined)
  if (given.length !== 1)
    throw new OptionError(`${what}: expected one of text, ids and passages, got ${given.length} of them`)
  if (text !== undefined && typeof text !== 'string') throw expected(`${what}: text`, 'a string', text)
  const own = ids === undefined ? undefined : asInt32(`${what}: ids`, ids)
  if (ids !== undefined && own === undefined) throw expected(`${what}: ids`, 'an Int32Array', ids)
  if (passages !== undefined && !(Array.isArray(passages) && passages.every((each) => typeof each === 'string')))
    throw expected(`${what}: passages`, 'a list of strings', passages)
  if (passages !== undefined && spans !== undefined)
    throw new OptionError(`${what}: expected passages or spans, got both`)
  if (input.tokenTypes !== undefined && ids === undefined)
    throw new OptionError(
      `${what}: expected tokenTypes with ids, got them with ${text === undefined ? 'passages' : 'a text'}`,
    )
  return { ...input, ...(own === undefined ? {} : { ids: own }) } as DocumentDetails & { readonly ids?: Int32Array }
}

function checkSpans(what: string, spans: unknown, length: number): void {
  if (!Array.isArray(spans)) throw expected(`${what}: spans`, 'a list of { start, end }', spans)
  for (const span of spans as (Partial<TokenSpan> | null)[]) {
    const { start, end } = span ?? {}
    const fits =
      Number.isSafeInteger(start) &&
      Number.isSafeInteger(end) &&
      (start as number) >= 0 &&
      (end as number) > (start as number) &&
      (end as number) <= length
    if (!fits)
      throw new OptionError(
        `${what}: spans: expected 0 ≤ start < end ≤ ${length}, the tokens of the document, got ${span === null ? 'null' : typeof span === 'object' ? `${String(start)} to ${String(end)}` : describe(span)}`,
      )
  }
}

export function concatenate(parts: readonly Int32Array[]): Int32Array {
  const whole = new Int32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.length
  }
  return whole
}
