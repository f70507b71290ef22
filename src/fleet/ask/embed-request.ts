import { checkedSignal, checkFunction, checkInteger, checkNames, expected } from '../../core/check.ts'
import type { HeddleError } from '../../core/errors.ts'
import { checkStorePath } from '../store/fleet-store.ts'

/** A text, which goes into the store first, or the path of one that is there. Text files are UTF-8. */
export type FleetDocument =
  | string
  | {
      /** path in the store */
      readonly file: string
    }

/** What `fleet.embed` takes. */
export interface FleetEmbedOptions {
  /** The model's folder, as the hosts name it, relative to their folder of models. */
  readonly model: string
  /**
   * Documents that are in the queue or done but not yet taken; more are asked for only as results are taken. @default
   * 64
   */
  readonly inFlight?: number
  /** An abort rejects with the signal's reason, and stops what the hosts do for this call. */
  readonly signal?: AbortSignal
  /** Called after each document that has ended, in any order. */
  readonly onProgress?: (progress: {
    /** documents that have an embedding */
    readonly done: number
    /** documents that could not be embedded */
    readonly failed: number
    /** since the call began */
    readonly elapsedMs: number
  }) => void
}

/** What became of one document: an embedding, or the error that only this document has. */
export type FleetEmbedResult =
  | {
      /** index of the document in the order in which they were given */
      readonly index: number
      /** [E], the caller's */
      readonly embedding: Float32Array
      /** not there */
      readonly error?: undefined
    }
  | {
      /** index of the document in the order in which they were given */
      readonly index: number
      /** not there */
      readonly embedding?: undefined
      /** why this document has no embedding */
      readonly error: HeddleError
    }

export interface EmbedRequest {
  readonly documents: AsyncIterator<unknown> | Iterator<unknown>
  readonly model: string
  readonly inFlight: number
  readonly signal: AbortSignal | undefined
  readonly onProgress: FleetEmbedOptions['onProgress']
}

const WHAT = 'fleet.embed'
const MAX_IN_FLIGHT = 10_000

/** @throws {OptionError} for unknown names and wrong values */
export function embedRequest(documents: unknown, options: FleetEmbedOptions): EmbedRequest {
  options = checkNames(`${WHAT}: options`, options, ['model', 'inFlight', 'signal', 'onProgress'])
  const { model, inFlight = 64, signal, onProgress } = options
  checkStorePath(`${WHAT}: option model`, model)
  checkInteger(`${WHAT}: option inFlight`, inFlight, 1, MAX_IN_FLIGHT)
  if (onProgress !== undefined) checkFunction(`${WHAT}: option onProgress`, onProgress)
  return {
    documents: iteratorOf(documents),
    model,
    inFlight,
    signal: checkedSignal(`${WHAT}: option signal`, signal),
    onProgress,
  }
}

function iteratorOf(documents: unknown): EmbedRequest['documents'] {
  // A string is iterable too, letter by letter, which nobody means.
  if (typeof documents === 'object' && documents !== null) {
    if (Symbol.asyncIterator in documents) return (documents as AsyncIterable<unknown>)[Symbol.asyncIterator]()
    if (Symbol.iterator in documents) return (documents as Iterable<unknown>)[Symbol.iterator]()
  }
  throw expected(`${WHAT}: documents`, 'an iterable or async iterable of texts or { file }', documents)
}

/** @throws {OptionError} unless a document is a text or names a file */
export function checkDocument(index: number, document: unknown): asserts document is FleetDocument {
  if (typeof document === 'string') return
  const what = `${WHAT}: document ${index}`
  if (typeof document !== 'object' || document === null) throw expected(what, 'a text or { file }', document)
  checkNames(what, document, ['file'])
  checkStorePath(`${what}.file`, (document as { file?: unknown }).file)
}
