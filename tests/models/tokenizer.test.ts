import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { loadModel, type Tokenizer } from 'heddle/models'
import { describe, expect, test } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'
import { worst } from '../nn/worst.ts'
import { changedFolder, folderOf, ids } from './support/hub-folders.ts'

const runtime = useRuntime({ workers: 0 })

const WORDS = ['[PAD]', '[UNK]', '[CLS]', '[SEP]', 'the', 'heddle', 'part', '##s', 'thread', 'of', 'a', 'loom', '.']
const token = (content: string) => ({
  id: WORDS.indexOf(content),
  content,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
  special: true,
})

/** A WordPiece tokenizer as BERT's, in the format of the hub. */
const DESCRIPTION = {
  version: '1.0',
  truncation: null,
  padding: null,
  added_tokens: ['[PAD]', '[UNK]', '[CLS]', '[SEP]'].map(token),
  normalizer: {
    type: 'BertNormalizer',
    clean_text: true,
    handle_chinese_chars: true,
    strip_accents: null,
    lowercase: true,
  },
  pre_tokenizer: { type: 'BertPreTokenizer' },
  post_processor: {
    type: 'TemplateProcessing',
    single: [
      { SpecialToken: { id: '[CLS]', type_id: 0 } },
      { Sequence: { id: 'A', type_id: 0 } },
      { SpecialToken: { id: '[SEP]', type_id: 0 } },
    ],
    pair: [],
    special_tokens: {
      '[CLS]': { id: '[CLS]', ids: [2], tokens: ['[CLS]'] },
      '[SEP]': { id: '[SEP]', ids: [3], tokens: ['[SEP]'] },
    },
  },
  decoder: { type: 'WordPiece', prefix: '##', cleanup: true },
  model: {
    type: 'WordPiece',
    unk_token: '[UNK]',
    continuing_subword_prefix: '##',
    max_input_chars_per_word: 100,
    vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])),
  },
}
const withTokenizer = () =>
  loadModel(
    changedFolder('bert', {
      'tokenizer.json': DESCRIPTION,
      'tokenizer_config.json': { tokenizer_class: 'BertTokenizer', model_max_length: 512 },
    }),
  )

describe('the tokenizer of a folder', () => {
  test('texts become the ids that its file says, with special tokens', async () => {
    const model = await withTokenizer()
    const tokenizer = await model.tokenizer()
    expect([...tokenizer.encode('The heddle parts threads.', true)]).toEqual([2, 4, 5, 6, 7, 8, 7, 12, 3])
    expect([...tokenizer.encode('The heddle', false)]).toEqual([4, 5])
    expect(tokenizer.decode!(ids(2, 4, 5, 3))).toBe('the heddle')
    const { embedding, tokens } = await model.embed('The heddle parts threads.', { runtime: runtime() })
    expect(tokens).toBe(9)
    expect(embedding.data).toEqual(
      (await model.embed(ids(2, 4, 5, 6, 7, 8, 7, 12, 3), { runtime: runtime() })).embedding.data,
    )
  })

  test('passages of one document: their tokens between the special ones, a vector each', async () => {
    const model = await withTokenizer()
    const { spans, tokenSpans, tokens } = await model.embed(
      { passages: ['The heddle', 'parts the threads', 'of a loom.'] },
      { runtime: runtime() },
    )
    expect(tokens).toBe(13)
    expect(tokenSpans).toEqual([
      { start: 1, end: 3 },
      { start: 3, end: 8 },
      { start: 8, end: 12 },
    ])
    const whole = { ids: ids(2, 4, 5, 6, 7, 4, 8, 7, 9, 10, 11, 12, 3), spans: tokenSpans! }
    expect(spans!.data).toEqual((await model.embed(whole, { runtime: runtime() })).spans!.data)
  })

  test('pieces of a long text each have their special tokens', async () => {
    const model = await withTokenizer()
    const text = 'the loom . '.repeat(30)
    const { tokens, pieces } = await model.embed(text, { onTooLong: 'split', runtime: runtime() })
    expect([tokens, pieces]).toEqual([96, 3])
    const piece = Int32Array.from([2, ...Array.from({ length: 30 }, (_, at) => [4, 11, 12][at % 3]!), 3])
    const { embedding } = await model.embed(piece, { runtime: runtime() })
    expect(
      worst((await model.embed(text, { onTooLong: 'split', runtime: runtime() })).embedding.data, embedding.data),
    ).toBeLessThan(1e-5)
    const cut = await model.embed(text, { onTooLong: 'truncate', runtime: runtime() })
    expect([cut.tokens, cut.droppedTokens]).toEqual([40, 52])
  })

  test('empty texts and passages are named', async () => {
    const model = await withTokenizer()
    await expect(model.embed('  ', { runtime: runtime() })).rejects.toThrow(
      'embed: document: expected at least one token, got an empty text',
    )
    await expect(model.embed(['a', ''], { runtime: runtime() })).rejects.toThrow(
      'embed: document 1: expected at least one token, got an empty text',
    )
    await expect(model.embed({ passages: ['a', ''] }, { runtime: runtime() })).rejects.toThrow(
      'expected at least one token, got an empty passage 1',
    )
    await expect(model.embed({ passages: [] }, { runtime: runtime() })).rejects.toThrow(
      'expected at least one passage, got none',
    )
  })

  test('without tokenizer.json a text is an error, and ids work', async () => {
    const model = await loadModel(folderOf('bert'))
    await expect(model.embed('a', { runtime: runtime() })).rejects.toThrow(
      /expected tokenizer\.json in .*hub-models\/bert for texts, found none; pass token ids, or the option tokenizer/,
    )
    expect((await model.embed(ids(2, 3), { runtime: runtime() })).tokens).toBe(2)
  })
})

describe("a tokenizer of one's own", () => {
  const letters: Tokenizer = {
    encode: (text, special) =>
      Int32Array.from([...(special ? [0] : []), ...Array.from(text, (letter) => 1 + (letter.charCodeAt(0) % 26))]),
  }

  test('is all that texts need', async () => {
    const model = await loadModel(folderOf('gpt2'), { tokenizer: letters })
    const { tokens, embedding } = await model.embed('loom', { runtime: runtime() })
    expect(tokens).toBe(5)
    expect(embedding.data).toEqual(
      (await model.embed(letters.encode('loom', true), { runtime: runtime() })).embedding.data,
    )
  })

  test('must keep its tokens together', async () => {
    const strange: Tokenizer = { encode: (_, special) => (special ? ids(1, 2) : ids(3)) }
    const model = await loadModel(folderOf('gpt2'), { tokenizer: strange })
    await expect(model.embed('loom', { runtime: runtime() })).rejects.toThrow(
      /expected encode\(text, true\) to put tokens around those of encode\(text, false\), got 1,2 for 3/,
    )
  })
})

describe('without the package @huggingface/tokenizers', () => {
  test('the error says what to install', async () => {
    const hook = `data:text/javascript,${encodeURIComponent("export const resolve = (id, context, next) => { if (id === '@huggingface/tokenizers') throw new Error('Cannot find package'); return next(id, context) }")}`
    const program = `
      import { register } from 'node:module'
      register(${JSON.stringify(hook)})
      const { loadModel } = await import('heddle/models')
      const model = await loadModel((name) => (name === 'tokenizer.json' ? new TextEncoder().encode('{}') : readFile(${JSON.stringify(folderOf('bert'))} + '/' + name).catch(() => null)))
      await model.embed('a').catch((error) => console.log(error.code + ': ' + error.message))`
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--input-type=module',
      '--eval',
      `import { readFile } from 'node:fs/promises'\n${program}`,
    ])
    expect(stdout.trim()).toBe(
      'BackendUnavailableError: embed: expected the package @huggingface/tokenizers for texts, and it could not be loaded; run npm install @huggingface/tokenizers, or pass token ids',
    )
  })
})
