/** Letters, marks and digits, with inner apostrophes and hyphens: `whale`, `don't`, `quarter-deck`. */
const RUN = /[\p{L}\p{N}][\p{L}\p{M}\p{N}]*(?:['’-][\p{L}\p{N}][\p{L}\p{M}\p{N}]*)*/gu
/** Scripts that put no space between words. */
const UNSPACED = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}]/u
/** V8 takes time that grows with the square of what `Intl.Segmenter` is given. */
const WINDOW = 256

/** Where a word of a text begins and ends, in UTF-16 code units. */
export interface WordSpan {
  readonly start: number
  readonly end: number
}

/**
 * The words of a text, in order: what is between spaces and marks, and inside a run of a script without spaces
 * (Chinese, Japanese, Thai, …) what `Intl.Segmenter` calls a word; on a host without it, the whole run.
 */
export function* wordSpans(text: string): Generator<WordSpan, void, undefined> {
  const segmenter = typeof Intl.Segmenter === 'function' ? new Intl.Segmenter('und', { granularity: 'word' }) : null
  for (const { 0: run, index: start } of text.matchAll(RUN)) {
    if (segmenter === null || !UNSPACED.test(run)) yield { start, end: start + run.length }
    else yield* segmented(run, start, segmenter)
  }
}

/** The words of a run. The last one of a window may be cut off, so the next window begins with it. */
function* segmented(run: string, start: number, segmenter: Intl.Segmenter): Generator<WordSpan, void, undefined> {
  for (let from = 0; from < run.length;) {
    const isLast = from + WINDOW >= run.length
    const segments = [...segmenter.segment(run.slice(from, from + WINDOW))]
    const cut = isLast || segments.length === 1 ? undefined : segments.pop()
    for (const { segment, index, isWordLike } of segments)
      if (isWordLike === true) yield { start: start + from + index, end: start + from + index + segment.length }
    from += cut?.index ?? WINDOW
  }
}

/** What counts as the same word: upper and lower case alike, and both kinds of apostrophe. */
export function wordKey(word: string): string {
  return word.toLowerCase().replaceAll('’', "'")
}
