import { readFileSync } from 'node:fs'
import type { PositionPair } from 'heddle/analysis'
import { WordTokenizer } from 'heddle/train'

interface Fixture {
  readonly passages: readonly {
    readonly text: string
    /** pairs [word, word it belongs with]; word#2 is the second of its kind in the passage */
    readonly relations: Readonly<Record<string, readonly (readonly [string, string])[]>>
  }[]
}

/** Passages of real English, one per line, with pairs of positions by relation. */
export interface AnnotatedText {
  readonly passages: readonly string[]
  readonly text: string
  readonly tokenizer: WordTokenizer
  readonly tokens: Int32Array
  readonly relations: Readonly<Record<string, readonly PositionPair[]>>
}

export function annotatedText(): AnnotatedText {
  const file = new URL('../../fixtures/moby-dick-relations.json', import.meta.url)
  const { passages } = JSON.parse(readFileSync(file, 'utf8')) as Fixture
  const text = passages.map((passage) => passage.text).join('\n')
  const tokenizer = WordTokenizer.fromText(text)
  const tokens = tokenizer.encode(text)
  const relations: Record<string, PositionPair[]> = {}
  let start = 0
  for (const passage of passages) {
    const words = Array.from(tokenizer.encode(passage.text), (token) => tokenizer.decode([token]).trim())
    for (const [name, pairs] of Object.entries(passage.relations)) {
      const place = (word: string): number => start + placeOf(words, word)
      for (const [query, key] of pairs) (relations[name] ??= []).push([place(query), place(key)])
    }
    start += words.length + 1
  }
  return { passages: passages.map((passage) => passage.text), text, tokenizer, tokens, relations }
}

/** @throws {Error} for a word that is not there, or stands there more often than the annotation says */
function placeOf(words: readonly string[], named: string): number {
  const [word = '', nth] = named.split('#')
  const places = [...words.keys()].filter((place) => words[place] === word)
  const found = places[nth === undefined ? 0 : Number(nth) - 1]
  if (found === undefined) throw new Error(`expected '${named}' in '${words.join(' ')}'`)
  return found
}
