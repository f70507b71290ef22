import { throwIfAborted } from '../core/abort.ts'
import { expected } from '../core/check.ts'
import type { Tensor } from '../core/tensor.ts'
import type { LayerReport } from '../program/run.ts'
import {
  concatenate,
  type DocumentReader,
  type EmbedInput,
  type TokenisedDocument,
  type TokenSpan,
} from './documents.ts'
import type { ResolvedEmbedOptions } from './embed-options.ts'
import { packsOf, piecesOf, type Piece } from './pieces.ts'
import { joinPieces, normalise, poolRows } from './pooling.ts'
import type { TransformerModel } from './transformer-model.ts'

/** A text's vector. */
export interface DocumentEmbedding {
  /** [E], the caller's */
  readonly embedding: Tensor
  /** A vector for each passage or span, [spans, E], all from one forward pass over the whole text. */
  readonly spans?: Tensor
  /** where these stand among the tokens */
  readonly tokenSpans?: readonly TokenSpan[]
  /** tokens that went through the model, special ones included */
  readonly tokens: number
  /** how many pieces the text was split into; 1 unless `onTooLong` is 'split' */
  readonly pieces: number
  /** tokens that `onTooLong: 'truncate'` left out */
  readonly droppedTokens: number
}

/** How texts were embedded. */
export interface EmbedReport {
  /** tokens of all texts, special ones included */
  readonly tokens: number
  /** how often the model ran */
  readonly packs: number
  /** wall-clock time of the call */
  readonly elapsedMs: number
  /** the largest of all packs */
  readonly peakBytes: number
  /** everything that ran in another way than asked for, and why */
  readonly fallbacks: LayerReport['fallbacks']
  /** tasks sent again because their worker died */
  readonly retries: number
}

/** What the passes over packs add up to. */
export class EmbedTally {
  readonly #startMs = performance.now()
  #tokens = 0
  #packs = 0
  #peakBytes = 0
  #retries = 0
  readonly #fallbacks = new Map<string, LayerReport['fallbacks'][number]>()

  add(tokens: number, { memory, fallbacks, retries }: LayerReport): void {
    this.#tokens += tokens
    this.#packs++
    this.#peakBytes = Math.max(this.#peakBytes, memory.peakBytes)
    this.#retries += retries
    for (const fallback of fallbacks) this.#fallbacks.set(JSON.stringify(fallback), fallback)
  }

  get tokens(): number {
    return this.#tokens
  }

  report(): EmbedReport {
    return {
      tokens: this.#tokens,
      packs: this.#packs,
      elapsedMs: performance.now() - this.#startMs,
      peakBytes: this.#peakBytes,
      fallbacks: [...this.#fallbacks.values()],
      retries: this.#retries,
    }
  }
}

/** What pieces of a document gave. */
interface PooledPiece {
  readonly vector: Float32Array
  readonly rows: number
  readonly spans: Float32Array | null
}

/** Texts to vectors: tokens, pieces that fit, packs of them, one forward pass per pack, pooling. */
export class Embedder {
  readonly #model: TransformerModel
  readonly #reader: DocumentReader
  /** texts longer than that have angles of their own, and cannot share a pass */
  readonly #trainedLength: number

  constructor(model: TransformerModel, reader: DocumentReader) {
    this.#model = model
    this.#reader = reader
    const trained = model.architecture.blocks.map(({ attention: { rotary } }) =>
      rotary?.scaling?.kind === 'dynamic' ? rotary.scaling.trainedLength : Infinity,
    )
    this.#trainedLength = Math.min(...trained)
  }

  /** @param names what each is called in messages @returns in the order of the inputs */
  async embed(
    inputs: readonly EmbedInput[],
    options: ResolvedEmbedOptions,
    tally: EmbedTally,
    names: (index: number) => string,
  ): Promise<DocumentEmbedding[]> {
    const { maxLength } = this.#model
    const documents: TokenisedDocument[] = []
    for (const [index, input] of inputs.entries()) documents.push(await this.#reader.read(names(index), input))
    const pieces = documents.map((document, index) =>
      piecesOf(names(index), index, document, { maxLength, onTooLong: options.onTooLong }),
    )
    const pooled = new Map<Piece, PooledPiece>()
    const total = tally.tokens + pieces.flat().reduce((sum, { ids }) => sum + ids.length, 0)
    if (tally.tokens === 0) options.onProgress?.({ doneTokens: 0, totalTokens: total })
    for (const pack of packsOf(pieces.flat(), options.packTokens, ({ ids }) => ids.length > this.#trainedLength)) {
      throwIfAborted(options.forward.signal)
      await this.#runPack(pack, options, tally, pooled)
      options.onProgress?.({ doneTokens: tally.tokens, totalTokens: total })
    }
    return documents.map((document, index) =>
      this.#result(
        document,
        (pieces[index] ?? []).map((piece) => pooled.get(piece) as PooledPiece),
        options,
      ),
    )
  }

  /** The same for inputs that come one after the other; vectors come in their order. */
  async *stream(
    inputs: Iterable<EmbedInput> | AsyncIterable<EmbedInput>,
    options: ResolvedEmbedOptions,
  ): AsyncGenerator<DocumentEmbedding & { readonly index: number }> {
    const isIterable =
      typeof inputs === 'object' && inputs !== null && (Symbol.iterator in inputs || Symbol.asyncIterator in inputs)
    if (!isIterable) throw expected('embedStream: documents', 'an iterable of documents', inputs)
    const tally = new EmbedTally()
    let waiting: EmbedInput[] = []
    let first = 0
    const flush = async (): Promise<DocumentEmbedding[]> => {
      const batch = waiting
      waiting = []
      return this.embed(batch, options, tally, (index) => `embedStream: document ${first + index}`)
    }
    for await (const input of inputs) {
      waiting.push(input)
      if (waiting.length < options.readAhead) continue
      for (const result of await flush()) yield { index: first++, ...result }
    }
    for (const result of await flush()) yield { index: first++, ...result }
  }

  async #runPack(
    pack: readonly Piece[],
    { pooling, forward }: ResolvedEmbedOptions,
    tally: EmbedTally,
    pooled: Map<Piece, PooledPiece>,
  ): Promise<void> {
    const ids = concatenate(pack.map((piece) => piece.ids))
    const { output, report } = await this.#model.forward(
      { data: ids, shape: [1, ids.length] },
      { ...forward, ...packOptions(pack, ids.length) },
    )
    tally.add(ids.length, report)
    const width = this.#model.modelDim
    let start = 0
    for (const piece of pack) {
      const rows = piece.ids.length
      const at = (span: TokenSpan): Float32Array =>
        poolRows(output.data, width, { from: start + span.start, to: start + span.end }, pooling)
      const spans = piece.spans === null ? null : joined(piece.spans.map(at), width)
      pooled.set(piece, { vector: at({ start: 0, end: rows }), rows, spans })
      start += rows
    }
  }

  #result(
    document: TokenisedDocument,
    pieces: readonly PooledPiece[],
    { pooling, normalize, onTooLong }: ResolvedEmbedOptions,
  ): DocumentEmbedding {
    const width = this.#model.modelDim
    const vector = joinPieces(pieces, pooling)
    const spans = pieces[0]?.spans ?? null
    if (normalize) {
      normalise(vector)
      if (spans !== null) for (let at = 0; at < spans.length; at += width) normalise(spans.subarray(at, at + width))
    }
    const tokens = pieces.reduce((sum, { rows }) => sum + rows, 0)
    return {
      embedding: { data: vector, shape: [width] },
      ...(spans === null || document.spans === null
        ? {}
        : { spans: { data: spans, shape: [document.spans.length, width] }, tokenSpans: document.spans }),
      tokens,
      pieces: pieces.length,
      droppedTokens: onTooLong === 'truncate' ? document.ids.length - tokens : 0,
    }
  }
}

/** Segments, positions and types of packed pieces; one alone needs neither of the first. */
function packOptions(
  pack: readonly Piece[],
  tokens: number,
): {
  readonly segments?: Tensor<Int32Array>
  readonly positions?: Tensor<Int32Array>
  readonly tokenTypes?: Tensor<Int32Array>
} {
  const shape = [1, tokens]
  const each = (value: (piece: Piece, index: number, token: number) => number): Tensor<Int32Array> => ({
    data: concatenate(pack.map((piece, index) => Int32Array.from(piece.ids, (_, token) => value(piece, index, token)))),
    shape,
  })
  const types = pack.some(({ tokenTypes }) => tokenTypes !== null)
    ? { tokenTypes: each(({ tokenTypes }, _, token) => tokenTypes?.[token] ?? 0) }
    : {}
  return pack.length === 1
    ? types
    : { ...types, segments: each((_, index) => index), positions: each((_piece, _index, token) => token) }
}

function joined(vectors: readonly Float32Array[], width: number): Float32Array {
  const whole = new Float32Array(vectors.length * width)
  vectors.forEach((vector, index) => whole.set(vector, index * width))
  return whole
}
