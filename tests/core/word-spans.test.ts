import { describe, expect, it } from 'vitest'
import { wordKey, wordSpans } from '../../src/core/word-spans.ts'

function words(text: string): string[] {
  return Array.from(wordSpans(text), ({ start, end }) => text.slice(start, end))
}

describe('wordSpans', () => {
  it('takes what stands between spaces and marks, with inner apostrophes and hyphens', () => {
    expect(words('“The whale’s quarter-deck!” — 1851… ’tis')).toEqual(['The', 'whale’s', 'quarter-deck', '1851', 'tis'])
    expect(words('나는 고래를 보았다. 바다는')).toEqual(['나는', '고래를', '보았다', '바다는'])
  })

  it('keeps marks with their letters', () => {
    expect(words('नमस्ते दुनिया, cafe\u0301!')).toEqual(['नमस्ते', 'दुनिया', 'cafe\u0301'])
  })

  it('finds the words of scripts without spaces', () => {
    expect(words('我们今天去学校，学习。')).toEqual(['我们', '今天', '去', '学校', '学习'])
    expect(words('เขากินข้าว')).toEqual(['เขา', 'กิน', 'ข้าว'])
    expect(words('東京 2026年の whale')).toEqual(expect.arrayContaining(['東京', 'whale']))
    expect(words('a中文b').join('')).toBe('a中文b')
  })

  it('finds the same words in a long run as in a short one, in linear time', () => {
    const sentence = '我们今天去学校学习'
    const once = words(sentence)
    // A run of 180,000 characters: the segmenter alone takes minutes for it in V8.
    const all = words(sentence.repeat(20_000))
    expect(all.length).toBe(once.length * 20_000)
    expect(all.slice(0, once.length * 40)).toEqual(Array.from({ length: 40 }, () => once).flat())
  })

  it('knows words by their letters, not their case', () => {
    expect(wordKey('Whale’S')).toBe("whale's")
  })
})
