import { wordKey, wordSpans } from '../../core/word-spans.ts'

/** A text as a sequence of word numbers, and what a plain count says of it. */
export interface WordSequence {
  /** distinct words, in the order of their first occurrence */
  readonly vocabulary: readonly string[]
  /** [n]: the number of each token's word */
  readonly ids: Int32Array
}

/** The words of a text in lower case, one token each, as many as `limit`. */
export function wordSequence(text: string, limit = Infinity): WordSequence {
  const numbers = new Map<string, number>()
  const ids: number[] = []
  for (const { start, end } of wordSpans(text)) {
    if (ids.length >= limit) break
    const key = wordKey(text.slice(start, end))
    let id = numbers.get(key)
    if (id === undefined) {
      id = numbers.size
      numbers.set(key, id)
    }
    ids.push(id)
  }
  return { vocabulary: [...numbers.keys()], ids: Int32Array.from(ids) }
}

/** How often each word occurs in the sequence, by the word's number. */
export function countWords({ vocabulary, ids }: WordSequence): Int32Array {
  const counts = new Int32Array(vocabulary.length)
  for (const id of ids) counts[id] = (counts[id] ?? 0) + 1
  return counts
}

/** The places of one word. */
export function occurrences({ ids }: WordSequence, id: number): number[] {
  const places: number[] = []
  for (let place = 0; place < ids.length; place++) if (ids[place] === id) places.push(place)
  return places
}
