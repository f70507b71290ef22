import { OptionError, ShapeError } from '../../core/errors.ts'
import { expected } from '../../core/check.ts'
import { asInt32, type IntegerArray } from '../../core/integer-arrays.ts'
import { formatShape } from '../../core/tensor.ts'
import { readTokens } from '../layers/embedding.ts'

/** The tokens of one sequence. */
export type Prompt = readonly number[] | IntegerArray

/** Prompts of any lengths, side by side. */
export interface Prompts {
  readonly batch: number
  /** of each prompt, at least 1 */
  readonly lengths: readonly number[]
  /** of the longest prompt */
  readonly longest: number
  /** [batch, longest]; zeros behind a shorter prompt */
  readonly tokens: Int32Array
}

/**
 * Prompts of one length as a tensor [B, M] or [M], or a list of any. @throws {OptionError} {ShapeError} for anything
 * else, and for tokens beyond the vocabulary
 */
export function readPrompts(what: string, given: unknown, vocabulary: number): Prompts {
  if (Array.isArray(given)) return listed(what, given as readonly unknown[], vocabulary)
  const prompt = readTokens(what, given, vocabulary)
  const [rows = 0, batch = 1] = prompt.shape.toReversed()
  if (rows < 1)
    throw new ShapeError(`${what}: expected a prompt of at least one token, got ${formatShape(prompt.shape)}`)
  return { batch, lengths: new Array<number>(batch).fill(rows), longest: rows, tokens: prompt.data }
}

function listed(what: string, given: readonly unknown[], vocabulary: number): Prompts {
  if (given.length === 0) throw new ShapeError(`${what}: expected a list of at least one prompt, got an empty one`)
  const rows = given.map((prompt, b) => tokensOf(`${what} ${b}`, prompt, vocabulary))
  const lengths = rows.map(({ length }) => length)
  const longest = Math.max(...lengths)
  const tokens = new Int32Array(rows.length * longest)
  rows.forEach((row, b) => tokens.set(row, b * longest))
  return { batch: rows.length, lengths, longest, tokens }
}

function tokensOf(what: string, prompt: unknown, vocabulary: number): ArrayLike<number> & Iterable<number> {
  const tokens = Array.isArray(prompt) ? (prompt as readonly number[]) : asInt32(what, prompt)
  if (tokens === undefined) throw expected(what, 'an array of tokens or an Int32Array', prompt)
  if (tokens.length < 1) throw new ShapeError(`${what}: expected a prompt of at least one token, got an empty one`)
  for (const token of tokens) {
    if (!(Number.isInteger(token) && token >= 0 && token < vocabulary))
      throw new OptionError(`${what}: expected tokens from 0 to ${vocabulary - 1}, got ${String(token)}`)
  }
  return tokens
}
