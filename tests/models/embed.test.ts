import { loadModel, normalise, poolRows, type EmbedInput, type LoadedModel } from 'heddle/models'
import { Readable } from 'node:stream'
import { beforeAll, describe, expect, test } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'
import { worst } from '../nn/worst.ts'
import { changedFolder, documentOf as document, expectedCases, folderOf, tokensOf } from './support/hub-folders.ts'

const runtime = useRuntime({ workers: 2 })
let model: LoadedModel

beforeAll(async () => {
  model = await loadModel(folderOf('bert'))
})

const embed = (input: EmbedInput, options = {}) => model.embed(input, { runtime: runtime(), ...options })
const [, nine, twentyThree] = expectedCases('bert')
async function hiddenOf(tokens: Int32Array): Promise<Float32Array> {
  return (await model.transformer.forward(tokensOf([...tokens]), { runtime: runtime() })).output.data
}

describe('one text', () => {
  test.each(['mean', 'first', 'last', 'max'] as const)("%s: what PyTorch's rows pool to", async (pooling) => {
    for (const { ids: tokens, tokenTypes, lastHiddenState } of [nine!, twentyThree!]) {
      const {
        embedding,
        tokens: count,
        pieces,
        report,
      } = await embed({ ids: Int32Array.from(tokens), tokenTypes: Int32Array.from(tokenTypes!) }, { pooling })
      const columns = lastHiddenState[0]!.map((_, c) => lastHiddenState.map((row) => row[c]!))
      const expected = {
        mean: columns.map((column) => column.reduce((a, b) => a + b) / column.length),
        first: lastHiddenState[0]!,
        last: lastHiddenState.at(-1)!,
        max: columns.map((column) => Math.max(...column)),
      }[pooling]
      expect(embedding.shape).toEqual([16])
      expect(worst(embedding.data, expected)).toBeLessThan(1e-5)
      expect([count, pieces, report.tokens, report.packs]).toEqual([tokens.length, 1, tokens.length, 1])
      expect(report.peakBytes).toBeGreaterThan(0)
    }
  })

  test('normalised: of length 1, in the same direction', async () => {
    const plain = (await embed(document(9))).embedding.data
    const unit = (await embed(document(9), { normalize: true })).embedding.data
    expect(Math.hypot(...unit)).toBeCloseTo(1, 6)
    expect(
      worst(
        unit,
        plain.map((value) => value / Math.hypot(...plain)),
      ),
    ).toBeLessThan(1e-6)
  })

  test('decoders take the last token, unless asked otherwise', async () => {
    const decoder = await loadModel(folderOf('gpt2'))
    const { ids: tokens, lastHiddenState } = expectedCases('gpt2')[1]!
    expect(decoder.defaults).toEqual({ pooling: 'last', normalize: false })
    expect(
      worst(
        (await decoder.embed(Int32Array.from(tokens), { runtime: runtime() })).embedding.data,
        lastHiddenState.at(-1)!,
      ),
    ).toBeLessThan(1e-5)
  })
})

describe('several texts', () => {
  test.each([1, 16, 40, 8192])(
    'in packs of up to %i tokens: the vectors of each alone, in their order',
    async (packTokens) => {
      const documents = [5, 40, 1, 17, 5, 23, 9].map(document)
      const { embeddings, report } = await model.embed(documents, { packTokens, runtime: runtime() })
      expect(embeddings.map(({ tokens }) => tokens)).toEqual([5, 40, 1, 17, 5, 23, 9])
      expect(report.tokens).toBe(100)
      if (packTokens === 8192) expect(report.packs).toBe(1)
      if (packTokens === 1) expect(report.packs).toBe(7)
      for (const [index, tokens] of documents.entries())
        expect(worst(embeddings[index]!.embedding.data, (await embed(tokens)).embedding.data)).toBeLessThan(1e-5)
    },
  )

  test('none', async () => {
    expect((await model.embed([], { runtime: runtime() })).embeddings).toEqual([])
  })

  test('texts beyond the trained length of dynamic positions share no pass', async () => {
    const nomic = await loadModel(folderOf('nomic_bert'))
    const cases = expectedCases('nomic_bert')
    const documents = cases.map(({ ids: tokens, tokenTypes }) => ({
      ids: Int32Array.from(tokens),
      tokenTypes: Int32Array.from(tokenTypes!),
    }))
    const { embeddings, report } = await nomic.embed(documents, { pooling: 'last', runtime: runtime() })
    expect(report.packs).toBe(2)
    cases.forEach(({ lastHiddenState }, index) =>
      expect(worst(embeddings[index]!.embedding.data, lastHiddenState.at(-1)!)).toBeLessThan(1e-5),
    )
  })

  test('progress counts tokens, and an abort between packs ends the call', async () => {
    const controller = new AbortController()
    const heard: number[] = []
    const call = model.embed([30, 20, 10].map(document), {
      packTokens: 1,
      runtime: runtime(),
      signal: controller.signal,
      onProgress: ({ doneTokens, totalTokens }) => {
        expect(totalTokens).toBe(60)
        heard.push(doneTokens)
        if (doneTokens === 50) controller.abort(new Error('enough'))
      },
    })
    await expect(call).rejects.toThrow('enough')
    expect(heard).toEqual([0, 30, 50])
  })
})

describe('spans of one pass', () => {
  test('a vector per span: the rows of the whole text, pooled', async () => {
    const tokens = document(30)
    const rows = await hiddenOf(tokens)
    for (const pooling of ['mean', 'max', 'first', 'last'] as const) {
      const spans = [
        { start: 0, end: 30 },
        { start: 3, end: 9 },
        { start: 8, end: 10 },
        { start: 29, end: 30 },
      ]
      const result = await embed({ ids: tokens, spans }, { pooling })
      expect(result.spans!.shape).toEqual([4, 16])
      expect(result.tokenSpans).toEqual(spans)
      spans.forEach(({ start, end }, index) =>
        expect(result.spans!.data.slice(index * 16, index * 16 + 16)).toEqual(
          poolRows(rows, 16, { from: start, to: end }, pooling),
        ),
      )
    }
  })

  test('they differ from the vectors of the spans alone, and are normalised like the whole', async () => {
    const tokens = document(30)
    const { spans } = await embed({ ids: tokens, spans: [{ start: 10, end: 20 }] }, { normalize: true })
    expect(Math.hypot(...spans!.data)).toBeCloseTo(1, 6)
    expect(worst(spans!.data, (await embed(tokens.slice(10, 20), { normalize: true })).embedding.data)).toBeGreaterThan(
      0.01,
    )
  })
})

describe('a stream', () => {
  test.each([1, 3, 64])('with %i read ahead: in order, as each alone', async (readAhead) => {
    let read = 0
    function* lengths() {
      for (const length of [9, 2, 30, 4, 11]) {
        read++
        yield document(length)
      }
    }
    const results = []
    for await (const result of model.embedStream(readAhead === 3 ? Readable.from(lengths()) : lengths(), {
      readAhead,
      runtime: runtime(),
    })) {
      // A Node stream reads ahead by itself.
      if (results.length === 0 && readAhead !== 3) expect(read).toBeLessThanOrEqual(readAhead)
      results.push(result)
    }
    expect(results.map(({ index, tokens }) => [index, tokens])).toEqual(
      [9, 2, 30, 4, 11].map((length, index) => [index, length]),
    )
    for (const { index, embedding } of results)
      expect(worst(embedding.data, (await embed(document([9, 2, 30, 4, 11][index]!))).embedding.data)).toBeLessThan(
        1e-5,
      )
  })

  test('names the document that is wrong, and lets go of the source', async () => {
    let closed = false
    function* documents() {
      try {
        yield document(4)
        yield document(41)
        yield document(4)
      } finally {
        closed = true
      }
    }
    const seen: number[] = []
    await expect(
      (async () => {
        for await (const { index } of model.embedStream(documents(), { readAhead: 1, runtime: runtime() }))
          seen.push(index)
      })(),
    ).rejects.toThrow(/embedStream: document 1: expected at most 40 tokens/)
    expect([seen, closed]).toEqual([[0], true])
  })
})

describe('what sentence-transformers folders say', () => {
  const modules = (...types: string[]) =>
    types.map((type, idx) => ({
      idx,
      name: String(idx),
      path: idx === 0 ? '' : `${idx}_${type}`,
      type: `sentence_transformers.models.${type}`,
    }))

  test('pooling and normalisation', async () => {
    const source = changedFolder('bert', {
      'modules.json': modules('Transformer', 'Pooling', 'Normalize'),
      '1_Pooling/config.json': {
        word_embedding_dimension: 16,
        pooling_mode_cls_token: true,
        pooling_mode_mean_tokens: false,
      },
    })
    const loaded = await loadModel(source)
    expect(loaded.defaults).toEqual({ pooling: 'first', normalize: true })
    const rows = await hiddenOf(document(9))
    expect(
      worst((await loaded.embed(document(9), { runtime: runtime() })).embedding.data, normalise(rows.slice(0, 16))),
    ).toBeLessThan(1e-6)
  })

  test('modules and poolings that are not supported are named', async () => {
    const dense = changedFolder('bert', { 'modules.json': modules('Transformer', 'Pooling', 'Dense') })
    await expect(loadModel(dense)).rejects.toThrow(/modules\.json: .* got sentence_transformers\.models\.Dense/)
    expect((await loadModel(dense, { ignoreSentenceConfig: true })).defaults.pooling).toBe('mean')
    const weighted = changedFolder('bert', {
      'modules.json': modules('Transformer', 'Pooling'),
      '1_Pooling/config.json': { pooling_mode_weightedmean_tokens: true },
    })
    await expect(loadModel(weighted)).rejects.toThrow(/got pooling_mode_weightedmean_tokens/)
  })
})
