import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { OptionError } from '../../../src/core/errors.ts'
import { CharacterTokenizer, WordTokenizer } from '../../../src/train/data/tokenizers.ts'

describe('CharacterTokenizer', () => {
  it('numbers the characters of a text by code point', () => {
    const tokenizer = CharacterTokenizer.fromText('hello, 🐋')
    expect(tokenizer.vocabulary).toEqual([' ', ',', 'e', 'h', 'l', 'o', '🐋'])
    expect(Array.from(tokenizer.encode('🐋hole'))).toEqual([6, 3, 5, 4, 2])
    expect(tokenizer.decode([6, 3, 5, 4, 2])).toBe('🐋hole')
    expect(new CharacterTokenizer(tokenizer.vocabulary).encode('hello')).toEqual(tokenizer.encode('hello'))
  })

  it('names a character that it does not know', () => {
    const tokenizer = CharacterTokenizer.fromText('abc')
    expect(() => tokenizer.encode('abж')).toThrow(
      'CharacterTokenizer: expected characters of the vocabulary, got "ж" at character 2',
    )
    expect(() => tokenizer.decode([3])).toThrow(
      'CharacterTokenizer: tokens: expected integers from 0 to 2, got number 3',
    )
  })
})

describe('WordTokenizer', () => {
  it('keeps a word and the space before it together, the most frequent first', () => {
    const tokenizer = WordTokenizer.fromText('the whale, the sea; the whale')
    expect(tokenizer.vocabulary).toEqual(['<unk>', ' the', ' whale', ' sea', ',', ';', 'the'])
    expect(Array.from(tokenizer.encode('the whale'))).toEqual([6, 2])
  })

  it('gives rare and unknown pieces token 0', () => {
    const tokenizer = WordTokenizer.fromText('a b a b a c', { minCount: 2 })
    expect(tokenizer.vocabulary).toEqual(['<unk>', ' a', ' b'])
    expect(Array.from(tokenizer.encode(' a c zebra b'))).toEqual([1, 0, 0, 2])
    expect(WordTokenizer.fromText('a b a b a c', { maxSize: 2 }).vocabulary).toEqual(['<unk>', ' a'])
  })

  it('finds words in languages without spaces', () => {
    expect(WordTokenizer.fromText('我喜欢鲸鱼。', { locale: 'zh' }).size).toBeGreaterThan(3)
  })
})

describe('both', () => {
  it('give back any text that they were made from', () => {
    const text = fc.string({ unit: 'grapheme', minLength: 1 }).filter((value) => !value.includes('<unk>'))
    fc.assert(
      fc.property(text, (value) => {
        for (const tokenizer of [CharacterTokenizer.fromText(value), WordTokenizer.fromText(value)])
          expect(tokenizer.decode(tokenizer.encode(value))).toBe(value)
      }),
    )
    for (const value of ['  a  b ', ' ', '\n\n x', 'a\t \tb', 'Call me Ishmael. ']) {
      const tokenizer = WordTokenizer.fromText(value)
      expect(tokenizer.decode(tokenizer.encode(value))).toBe(value)
    }
  })

  it.each([
    [() => CharacterTokenizer.fromText(''), /expected a text of one or more characters/],
    [() => WordTokenizer.fromText(5 as never), /WordTokenizer: text: expected a string/],
    [() => new CharacterTokenizer([]), /vocabulary: expected an array of one or more strings/],
    [() => new CharacterTokenizer(['a', 'a']), /expected strings that differ, got 1 twice/],
    [() => new WordTokenizer(['a']), /vocabulary\[0\]: expected "<unk>"/],
    [() => WordTokenizer.fromText('a', { maxSize: 1 }), /option maxSize: expected an integer ≥ 2/],
    [() => WordTokenizer.fromText('a', { min: 1 } as never), /got "min"/],
  ])('refuse bad input: case %#', (call, message) => {
    expect(call).toThrow(OptionError)
    expect(call).toThrow(message)
  })
})
