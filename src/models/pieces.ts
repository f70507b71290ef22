import { OptionError } from '../core/errors.ts'
import { concatenate, type TokenisedDocument, type TokenSpan } from './documents.ts'

/** What happens to a text that is longer than the model's positions. */
export type TooLong = 'error' | 'truncate' | 'split'

export const TOO_LONG: readonly TooLong[] = ['error', 'truncate', 'split']

/** Tokens of one document that go through the model together. */
export interface Piece {
  readonly document: number
  readonly ids: Int32Array
  readonly tokenTypes: Int32Array | null
  readonly spans: readonly TokenSpan[] | null
}

/**
 * The document as pieces that fit: itself, its beginning, or one after the other, each with the special tokens around
 * it.
 *
 * @throws {OptionError} when it is too long and nothing was said about that, or a span would be cut
 */
export function piecesOf(
  what: string,
  index: number,
  document: TokenisedDocument,
  { maxLength, onTooLong }: { readonly maxLength: number; readonly onTooLong: TooLong },
): Piece[] {
  const { ids, spans, tokenTypes, special } = document
  if (ids.length <= maxLength) return [{ document: index, ids, tokenTypes, spans }]
  const got = `got ${ids.length}`
  if (spans !== null)
    throw new OptionError(
      `${what}: expected at most ${maxLength} tokens for vectors of passages or spans, ${got}; they cannot be split or truncated`,
      { details: { tokens: ids.length, maxLength } },
    )
  if (onTooLong === 'error')
    throw new OptionError(
      `${what}: expected at most ${maxLength} tokens, ${got}; option onTooLong "split" or "truncate" says what to do with longer texts`,
      { details: { tokens: ids.length, maxLength } },
    )
  const around = special.before.length + special.after.length
  const room = maxLength - around
  if (room < 1)
    throw new OptionError(
      `${what}: expected room for a token between ${around} special ones, got ${maxLength} positions`,
    )
  const content = ids.subarray(special.before.length, ids.length - special.after.length)
  const count = onTooLong === 'truncate' ? 1 : Math.ceil(content.length / room)
  // Pieces of almost equal length: a short last one would have little to attend to.
  const size = onTooLong === 'truncate' ? room : Math.ceil(content.length / count)
  return Array.from({ length: count }, (_, piece) => {
    const [from, to] = [piece * size, Math.min((piece + 1) * size, content.length)]
    return {
      document: index,
      ids: concatenate([special.before, content.subarray(from, to), special.after]),
      tokenTypes: tokenTypes?.slice(from, to) ?? null,
      spans: null,
    }
  })
}

/**
 * Packs of pieces that go through the model as one sequence with segments: the longest first, each where it fits. A
 * piece that is longer than `packTokens` has a pack of its own.
 *
 * @param alone whether a piece must be by itself
 */
export function packsOf(pieces: readonly Piece[], packTokens: number, alone: (piece: Piece) => boolean): Piece[][] {
  const packs: { readonly pieces: Piece[]; room: number }[] = []
  for (const piece of pieces.toSorted((a, b) => b.ids.length - a.ids.length)) {
    const pack = alone(piece) ? undefined : packs.find(({ room }) => room >= piece.ids.length)
    if (pack === undefined) packs.push({ pieces: [piece], room: alone(piece) ? 0 : packTokens - piece.ids.length })
    else {
      pack.pieces.push(piece)
      pack.room -= piece.ids.length
    }
  }
  return packs.map((pack) => pack.pieces)
}
