import { OptionError } from 'heddle'
import { loadModel, poolRows, type EmbedInput, type LoadedModel, type Pooling } from 'heddle/models'
import { beforeAll, describe, expect, test } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'
import { worst } from '../nn/worst.ts'
import { documentOf as document, folderOf, ids, tokensOf, withConfig } from './support/hub-folders.ts'

const runtime = useRuntime({ workers: 2 })
let model: LoadedModel

beforeAll(async () => {
  model = await loadModel(folderOf('bert'))
})

const embed = (input: EmbedInput, options = {}) => model.embed(input, { runtime: runtime(), ...options })

async function hiddenOf(tokens: Int32Array): Promise<Float32Array> {
  return (await model.transformer.forward(tokensOf([...tokens]), { runtime: runtime() })).output.data
}

describe('texts that are too long', () => {
  const long = document(95)

  test('are an error that says so', async () => {
    await expect(embed(long)).rejects.toThrow(/embed: document: expected at most 40 tokens, got 95; option onTooLong/)
    await expect(model.embed([document(3), long], { runtime: runtime() })).rejects.toThrow(
      /embed: document 1: expected at most 40 tokens/,
    )
    await expect(embed(long)).rejects.toMatchObject({ code: 'OptionError', details: { tokens: 95, maxLength: 40 } })
  })

  test('truncate: the first tokens, and how many were left out', async () => {
    const { embedding, tokens, droppedTokens } = await embed(long, { onTooLong: 'truncate' })
    expect([tokens, droppedTokens]).toEqual([40, 55])
    expect(worst(embedding.data, (await embed(long.slice(0, 40))).embedding.data)).toBeLessThan(1e-6)
  })

  test('split: pieces of almost the same length, weighted by their tokens', async () => {
    const { embedding, tokens, pieces } = await embed(long, { onTooLong: 'split' })
    expect([tokens, pieces]).toEqual([95, 3])
    const parts = [long.slice(0, 32), long.slice(32, 64), long.slice(64)]
    const rows = await Promise.all(parts.map(hiddenOf))
    const all = Float32Array.from(rows.flatMap((each) => [...each]))
    expect(worst(embedding.data, poolRows(all, 16, { from: 0, to: 95 }, 'mean'))).toBeLessThan(1e-5)
    const poolings: readonly Pooling[] = ['max', 'first', 'last']
    for (const pooling of poolings) {
      const { embedding: other } = await embed(long, { onTooLong: 'split', pooling })
      expect(worst(other.data, poolRows(all, 16, { from: 0, to: 95 }, pooling)), pooling).toBeLessThan(1e-5)
    }
  })

  test('cannot be cut where spans are wanted', async () => {
    await expect(embed({ ids: long, spans: [{ start: 0, end: 2 }] }, { onTooLong: 'split' })).rejects.toThrow(
      /for vectors of passages or spans, got 95/,
    )
  })
})

describe('wrong documents and options', () => {
  const wrong: readonly (readonly [string, unknown, RegExp, object?])[] = [
    ['an empty text', new Int32Array(0), /expected at least one token, got an empty text/],
    ['ids beyond the vocabulary', ids(3, 30), /expected token ids from 0 to 29, got number 30/],
    ['negative ids', ids(-1), /expected token ids from 0 to 29, got number -1/],
    ['a number', 7, /expected a text, an Int32Array of token ids, or an object, got number 7/],
    ['ids of another type', new Float32Array(3), /got Float32Array/],
    ['nothing in an object', {}, /expected one of text, ids and passages, got 0/],
    ['both a text and ids', { text: 'a', ids: ids(1) }, /got 2 of them/],
    [
      'an unknown name',
      { ids: ids(1), span: [] },
      /expected names among text, ids, passages, spans, tokenTypes, got "span"/,
    ],
    [
      'a span past the end',
      { ids: ids(1, 2), spans: [{ start: 1, end: 3 }] },
      /expected 0 ≤ start < end ≤ 2.*got 1 to 3/,
    ],
    ['an empty span', { ids: ids(1, 2), spans: [{ start: 1, end: 1 }] }, /got 1 to 1/],
    ['a span before the start', { ids: ids(1, 2), spans: [{ start: -1, end: 1 }] }, /got -1 to 1/],
    ['spans that are none', { ids: ids(1, 2), spans: 3 }, /expected a list of \{ start, end \}/],
    ['too few token types', { ids: ids(1, 2), tokenTypes: ids(0) }, /expected an Int32Array of 2 types/],
    [
      'token types that the model has not',
      { ids: ids(1, 2), tokenTypes: ids(0, 2) },
      /expected types from 0 to 1, got number 2/,
    ],
    ['an unknown option', ids(1), /expected names among .*, got "pool"/, { pool: 'mean' }],
    ['an unknown pooling', ids(1), /option pooling: expected "mean" or/, { pooling: 'cls' }],
    [
      'an unknown onTooLong',
      ids(1),
      /option onTooLong: expected "error" or "truncate" or "split"/,
      { onTooLong: 'cut' },
    ],
    ['no room in packs', ids(1), /option packTokens: expected an integer ≥ 1/, { packTokens: 0 }],
  ]

  test.each(wrong)('%s', async (_name, input, message, options) => {
    await expect(embed(input as Int32Array, options ?? {})).rejects.toThrow(message)
    await expect(embed(input as Int32Array, options ?? {})).rejects.toBeInstanceOf(OptionError)
  })

  test('a stream of nothing that can be iterated, and an encoder that should generate', async () => {
    await expect(model.embedStream(3 as never).next()).rejects.toThrow(
      /expected an iterable of documents, got number 3/,
    )
    await expect(model.generate(tokensOf([1]), { maxNewTokens: 1 })).rejects.toThrow(
      /expected a decoder, got the encoder bert/,
    )
    await expect(model.transformer.forward(tokensOf([1]), { caches: [] })).rejects.toThrow(
      /expected a decoder for option caches/,
    )
    await expect(model.transformer.forward(tokensOf(Array.from(document(41))))).rejects.toThrow(
      /expected positions from 0 to 39, got 40/,
    )
    await expect(model.transformer.forward(tokensOf([1]), { positions: tokensOf([-1]) })).rejects.toThrow(
      /expected positions from 0 to 39, got -1/,
    )
    const plain = await loadModel(withConfig('distilbert', {}))
    await expect(plain.transformer.forward(tokensOf([1]), { tokenTypes: tokensOf([0]) })).rejects.toThrow(
      /expected none, as the model has no token types/,
    )
  })
})
