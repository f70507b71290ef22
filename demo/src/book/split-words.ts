/** Letters and digits, with inner apostrophes and hyphens: `whale`, `don't`, `quarter-deck`. */
const WORD = /[\p{L}\p{N}]+(?:['’-][\p{L}\p{N}]+)*/gu

export interface Words {
  /** words in all, beyond the limit too */
  readonly count: number
  readonly vocabulary: number
  readonly ids: Int32Array
  readonly starts: Uint32Array
  readonly ends: Uint32Array
}

/** The words of a text, as many as `limit`; upper and lower case are the same word. */
export function splitWords(text: string, limit: number): Words {
  const numbers = new Map<string, number>()
  const [ids, starts, ends]: [number[], number[], number[]] = [[], [], []]
  let count = 0
  for (const match of text.matchAll(WORD)) {
    count++
    if (ids.length >= limit) continue
    const word = match[0].toLowerCase().replaceAll('’', "'")
    const id = numbers.get(word) ?? numbers.size
    numbers.set(word, id)
    ids.push(id)
    starts.push(match.index)
    ends.push(match.index + match[0].length)
  }
  return {
    count,
    vocabulary: numbers.size,
    ids: Int32Array.from(ids),
    starts: Uint32Array.from(starts),
    ends: Uint32Array.from(ends),
  }
}
