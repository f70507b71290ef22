import { inductionTask } from 'heddle/train'
import { EDGE } from '../train/names-format.ts'
import { LONGEST_INPUT } from './inspect-model.ts'
import type { ModelTokens } from './open-model.ts'

/** What the reader wrote, as the model takes it, or why it cannot. */
export type Input =
  | { readonly kind: 'tokens'; readonly tokens: Int32Array; readonly labels: readonly string[] }
  | { readonly kind: 'empty' }
  | { readonly kind: 'short' }
  | { readonly kind: 'long'; readonly length: number }
  /** characters, or numbers of symbols, that the model does not know */
  | { readonly kind: 'unknown'; readonly what: readonly string[] }

/** Fewer have nothing to choose from. */
const SHORTEST_INPUT = 2
/** Of what is unknown: a longer list is not read. */
const SHOWN_UNKNOWN = 8

export function readInput(text: string, known: ModelTokens): Input {
  if (text.trim() === '') return { kind: 'empty' }
  const input = known.kind === 'symbols' ? readNumbers(text, known.size) : readText(text, known)
  if (input.kind !== 'tokens') return input
  const { length } = input.tokens
  if (length < SHORTEST_INPUT) return { kind: 'short' }
  return length > LONGEST_INPUT ? { kind: 'long', length } : input
}

function readText(text: string, { pieces, tokenizer }: Extract<ModelTokens, { readonly kind: 'text' }>): Input {
  const characters = new Set(pieces.join(''))
  const unknown = [...new Set(text)].filter((character) => !characters.has(character))
  if (unknown.length > 0) return { kind: 'unknown', what: unknown.slice(0, SHOWN_UNKNOWN) }
  // Names begin with their edge, as in training.
  const tokens = tokenizer.encode(pieces.includes(EDGE) ? EDGE + text : text)
  return { kind: 'tokens', tokens, labels: Array.from(tokens, (token) => visible(pieces[token] ?? '?')) }
}

function readNumbers(text: string, size: number): Input {
  const parts = text.split(/[\s,]+/).filter((part) => part !== '')
  const unknown = parts.filter((part) => !(/^\d+$/.test(part) && Number(part) < size))
  if (unknown.length > 0) return { kind: 'unknown', what: [...new Set(unknown)].slice(0, SHOWN_UNKNOWN) }
  return { kind: 'tokens', tokens: Int32Array.from(parts, Number), labels: parts.map((part) => String(Number(part))) }
}

/** A token as it can be seen. */
function visible(piece: string): string {
  return piece.replaceAll(EDGE, '⏎').replaceAll(' ', '␣')
}

/** Symbols in a random order that repeats: what follows one is found where it stood before. */
export function sampleSymbols(size: number, index: number): string {
  const longest = Math.min(16, size)
  const task = inductionTask({ batch: 1, length: 40, symbols: size, shortest: Math.min(10, longest), longest })
  return [...(task(index).tokens?.data ?? [])].join(' ')
}
