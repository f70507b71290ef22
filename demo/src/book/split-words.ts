import { wordKey, wordSpans } from '../../../src/core/word-spans.ts'

export interface Words {
  /** words in all, beyond the limit too */
  readonly count: number
  readonly vocabulary: number
  readonly ids: Int32Array
  readonly starts: Uint32Array
  readonly ends: Uint32Array
}

/** The words of a text, as many as `limit`. */
export function splitWords(text: string, limit: number): Words {
  const numbers = new Map<string, number>()
  const [ids, starts, ends]: [number[], number[], number[]] = [[], [], []]
  let count = 0
  for (const { start, end } of wordSpans(text)) {
    count++
    if (ids.length >= limit) continue
    const word = wordKey(text.slice(start, end))
    const id = numbers.get(word) ?? numbers.size
    numbers.set(word, id)
    ids.push(id)
    starts.push(start)
    ends.push(end)
  }
  return {
    count,
    vocabulary: numbers.size,
    ids: Int32Array.from(ids),
    starts: Uint32Array.from(starts),
    ends: Uint32Array.from(ends),
  }
}
