import { checkInteger, checkNames, expected } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import { describe } from '../../core/tensor.ts'

/** Text to tokens and back: one of those below, or any other, such as a byte-pair tokenizer. */
export interface Tokenizer {
  /** how many tokens there are */
  readonly size: number
  /**
   * Tokens of a text.
   *
   * @param text any text
   */
  encode(text: string): Int32Array
  /**
   * The text of tokens.
   *
   * @param tokens numbers below `size`
   */
  decode(tokens: Iterable<number>): string
}

/**
 * One token per character (a code point).
 *
 * @example
 * ```js
 * import { CharacterTokenizer } from 'heddle/train'
 *
 * const tokenizer = CharacterTokenizer.fromText('abracadabra')
 * console.log(tokenizer.size, tokenizer.decode(tokenizer.encode('cab'))) // 5 cab
 * ```
 */
export class CharacterTokenizer implements Tokenizer {
  readonly #numbers: ReadonlyMap<string, number>

  /** @param vocabulary distinct characters; a token is its place */
  constructor(readonly vocabulary: readonly string[]) {
    this.#numbers = numbered('CharacterTokenizer', vocabulary)
  }

  /**
   * All characters of a text, by code point.
   *
   * @param text the text whose characters become the vocabulary
   * @throws {OptionError} when there is none
   */
  static fromText(text: string): CharacterTokenizer {
    checkText('CharacterTokenizer', text)
    return new CharacterTokenizer([...new Set(text)].sort((a, b) => (a.codePointAt(0) ?? 0) - (b.codePointAt(0) ?? 0)))
  }

  get size(): number {
    return this.vocabulary.length
  }

  /**
   * A token per character.
   *
   * @param text characters of the vocabulary only
   * @throws {OptionError} that names the first character without a token, and where it is
   */
  encode(text: string): Int32Array {
    checkString('CharacterTokenizer: text', text)
    return Int32Array.from(text, (character, place) => {
      const token = this.#numbers.get(character)
      if (token === undefined)
        throw new OptionError(
          `CharacterTokenizer: expected characters of the vocabulary, got ${JSON.stringify(character)} at character ${place}`,
        )
      return token
    })
  }

  /**
   * The characters of tokens, joined.
   *
   * @param tokens numbers below `size`
   * @throws {OptionError} for a token that is not in the vocabulary
   */
  decode(tokens: Iterable<number>): string {
    return joined('CharacterTokenizer', tokens, this.vocabulary)
  }
}

/** What `WordTokenizer.of` takes beside the text. */
export interface WordTokenizerOptions {
  /** Rarer pieces become the unknown token. @default 1 */
  readonly minCount?: number
  /** The most tokens, the unknown one included; the rarest pieces become the unknown token. @default no limit */
  readonly maxSize?: number
  /** whose rules tell where words begin. @default 'en' */
  readonly locale?: string
}

/** What a piece without a token becomes: token 0. */
const UNKNOWN = '<unk>'

/**
 * One token per word, number, mark or run of space, as `Intl.Segmenter` finds them; one space before a word belongs to
 * it. Token 0 is for everything else. Decoded tokens join to the text that was encoded. Where words begin may change
 * with the engine's version of Unicode.
 *
 * @example
 * ```js
 * import { WordTokenizer } from 'heddle/train'
 *
 * const tokenizer = WordTokenizer.fromText('the whale and the sea')
 * console.log(tokenizer.decode(tokenizer.encode('the sea'))) // the sea
 * ```
 */
export class WordTokenizer implements Tokenizer {
  readonly #numbers: ReadonlyMap<string, number>

  /** @param vocabulary distinct pieces, the unknown one first; a token is its place */
  constructor(
    readonly vocabulary: readonly string[],
    /** whose rules tell where words begin */
    readonly locale = 'en',
  ) {
    this.#numbers = numbered('WordTokenizer', vocabulary)
    if (vocabulary[0] !== UNKNOWN)
      throw expected('WordTokenizer: vocabulary[0]', JSON.stringify(UNKNOWN), vocabulary[0])
  }

  /**
   * The pieces of a text, the most frequent first.
   *
   * @param text the text whose pieces become the vocabulary
   * @throws {OptionError} when there is none, or for wrong options
   */
  static fromText(text: string, options: WordTokenizerOptions = {}): WordTokenizer {
    checkText('WordTokenizer', text)
    options = checkNames('WordTokenizer: options', options, ['minCount', 'maxSize', 'locale'])
    const { minCount = 1, maxSize = Infinity, locale = 'en' } = options
    checkInteger('WordTokenizer: option minCount', minCount, 1)
    if (maxSize !== Infinity) checkInteger('WordTokenizer: option maxSize', maxSize, 2)
    const counts = new Map<string, number>()
    for (const piece of pieces(text, locale)) counts.set(piece, (counts.get(piece) ?? 0) + 1)
    const ordered = [...counts]
      .filter(([piece, count]) => count >= minCount && piece !== UNKNOWN)
      .sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1))
    return new WordTokenizer([UNKNOWN, ...ordered.slice(0, maxSize - 1).map(([piece]) => piece)], locale)
  }

  get size(): number {
    return this.vocabulary.length
  }

  /**
   * Tokens of a text, 0 for unknown pieces.
   *
   * @param text any text
   * @throws {OptionError} unless it is a string
   */
  encode(text: string): Int32Array {
    checkString('WordTokenizer: text', text)
    return Int32Array.from(pieces(text, this.locale), (piece) => this.#numbers.get(piece) ?? 0)
  }

  /**
   * The pieces of tokens, joined.
   *
   * @param tokens numbers below `size`
   * @throws {OptionError} for a token that is not in the vocabulary
   */
  decode(tokens: Iterable<number>): string {
    return joined('WordTokenizer', tokens, this.vocabulary)
  }
}

function* pieces(text: string, locale: string): Generator<string, void, undefined> {
  if (typeof Intl.Segmenter !== 'function') throw new OptionError('WordTokenizer: expected a host with Intl.Segmenter')
  let space = ''
  for (const { segment } of new Intl.Segmenter(locale, { granularity: 'word' }).segment(text)) {
    const isSpace = segment.trim() === ''
    if (isSpace && space !== '') yield space
    if (segment === ' ') space = segment
    else {
      yield isSpace ? segment : space + segment
      space = ''
    }
  }
  if (space !== '') yield space
}

function numbered(what: string, vocabulary: unknown): Map<string, number> {
  if (
    !Array.isArray(vocabulary) ||
    vocabulary.length === 0 ||
    !vocabulary.every((piece) => typeof piece === 'string' && piece !== '')
  ) {
    throw expected(`${what}: vocabulary`, 'an array of one or more strings that are not empty', vocabulary)
  }
  const numbers = new Map((vocabulary as string[]).map((piece, token) => [piece, token]))
  if (numbers.size !== vocabulary.length)
    throw new OptionError(
      `${what}: vocabulary: expected strings that differ, got ${vocabulary.length - numbers.size} twice`,
    )
  return numbers
}

function joined(what: string, tokens: Iterable<number>, vocabulary: readonly string[]): string {
  return Array.from(tokens, (token) => {
    const piece = vocabulary[token]
    if (piece === undefined) throw expected(`${what}: tokens`, `integers from 0 to ${vocabulary.length - 1}`, token)
    return piece
  }).join('')
}

function checkString(what: string, text: unknown): asserts text is string {
  if (typeof text !== 'string') throw expected(what, 'a string', text)
}

function checkText(what: string, text: unknown): asserts text is string {
  checkString(`${what}: text`, text)
  if (text === '') throw new OptionError(`${what}: expected a text of one or more characters, got ${describe(text)}`)
}
