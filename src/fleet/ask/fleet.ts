import { checkInteger, checkNames } from '../../core/check.ts'
import { RuntimeClosedError } from '../../core/errors.ts'
import { checkStore } from '../host/fleet-worker-options.ts'
import { resolveQueueOptions, type QueueOptions } from '../queue/fleet-options.ts'
import { fleetStatus, type FleetStatus } from '../status/fleet-status.ts'
import { prometheusText } from '../status/prometheus.ts'
import type { FleetStore } from '../store/fleet-store.ts'
import { attentionRequest, type FleetAttentionInputs, type FleetAttentionOptions } from './attention-request.ts'
import { embedRequest, type FleetDocument, type FleetEmbedOptions, type FleetEmbedResult } from './embed-request.ts'
import type { FleetAttentionResult } from './fleet-attention-result.ts'
import { openFleetConnection, type FleetConnectionParts } from './fleet-connection.ts'
import { runAttention, type Asking } from './run-attention.ts'
import { runEmbed } from './run-embed.ts'

export interface FleetOptions extends QueueOptions {
  /** The same files that the hosts see. */
  readonly store: FleetStore
  /** How long Redis may be away before waiting calls fail; until then they wait. @default 60,000 */
  readonly lostAfterMs?: number
}

/**
 * The side of a fleet that asks. Nothing is computed here.
 *
 * @throws {OptionError} for wrong options
 * @throws {BackendUnavailableError} without bullmq, ioredis or an answer of Redis; {ProtocolError} for a queue of
 *   another version
 *
 * @example
 * ```ts
 * import { createFleet, folderStore } from 'heddle/fleet'
 *
 * const fleet = await createFleet({ connection: 'redis://localhost:6379', store: folderStore('/data') })
 * const stored = (name: string) => ({ file: 'call.safetensors', name })
 * const inputs = { query: stored('query'), key: stored('key'), value: stored('value') }
 * const { shape, rows } = await fleet.attention(inputs, { causal: true })
 * const { output } = await rows(0, 10)
 * console.log(shape, output.shape)
 * await fleet.close()
 * ```
 */
export async function createFleet(options: FleetOptions): Promise<Fleet> {
  options = checkNames('createFleet: options', options, [
    'connection',
    'queue',
    'connectTimeoutMs',
    'store',
    'lostAfterMs',
  ])
  const { store, lostAfterMs = 60_000 } = options
  checkStore('createFleet: option store', store)
  checkInteger('createFleet: option lostAfterMs', lostAfterMs, 1)
  return new Fleet(await openFleetConnection(resolveQueueOptions('createFleet', options), lostAfterMs), store)
}

/** A queue and the hosts that serve it. Made by {@link createFleet}. */
export class Fleet {
  readonly #parts: FleetConnectionParts
  readonly #asking: Asking
  readonly #background = new Set<Promise<unknown>>()
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(parts: FleetConnectionParts, store: FleetStore) {
    this.#parts = parts
    this.#asking = { parts, store, inBackground: (work) => this.#keep(work) }
  }

  /**
   * Exact attention over stored tensors: softmax(scale·QKᵀ + …)·V. Hosts compute partials for (query chunk × key range)
   * and merge them in key order. The result has the same bits for any number of hosts. A result that the store has is
   * not computed again.
   *
   * @param inputs query [.., M, D], key [.., N, D] and value [.., N, Dv] in the store
   * @throws {ShapeError} {OptionError} {FormatError} {StoreError} when the tensors do not fit or cannot be read; before
   *   a job is made
   * @throws {StoreError} {MemoryBudgetError} {WorkerLostError} when a job failed at three tries
   * @throws {BackendUnavailableError} when Redis is away for longer than `lostAfterMs`; {RuntimeClosedError} after
   *   `close()`
   * @throws the signal's reason, after an abort: waiting jobs are removed, running ones stopped
   */
  async attention(inputs: FleetAttentionInputs, options: FleetAttentionOptions = {}): Promise<FleetAttentionResult> {
    this.#checkOpen()
    return runAttention(this.#asking, attentionRequest(inputs, options))
  }

  /**
   * One vector per document, in the order of the documents. Errors of a document are results and do not stop the
   * others. Documents are asked for only as results are taken. Whoever stops early removes the jobs that are left.
   *
   * @param documents texts, or files of the store; an iterable or async iterable, of any length
   * @throws {OptionError} for wrong options, at once
   * @throws {BackendUnavailableError} {RuntimeClosedError} and the signal's reason, while results are taken
   */
  embed(
    documents: Iterable<FleetDocument> | AsyncIterable<FleetDocument>,
    options: FleetEmbedOptions,
  ): AsyncGenerator<FleetEmbedResult, void, undefined> {
    this.#checkOpen()
    return runEmbed(this.#asking, embedRequest(documents, options))
  }

  /** Jobs by state, hosts, and what they do per second. */
  async status(): Promise<FleetStatus> {
    this.#checkOpen()
    return fleetStatus(this.#parts)
  }

  /** The status in the text format of Prometheus, version 0.0.4. */
  async prometheus(): Promise<string> {
    return prometheusText(await this.status())
  }

  /**
   * Ends the connection. Calls that wait reject with a RuntimeClosedError; their jobs go on, and their results stay in
   * the store.
   */
  close(): Promise<void> {
    this.#closing ??= Promise.allSettled([...this.#background]).then(() => this.#parts.close())
    return this.#closing
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new RuntimeClosedError('fleet: the fleet was closed')
  }

  #keep(work: Promise<unknown>): void {
    const kept = work.catch(() => undefined).finally(() => this.#background.delete(kept))
    this.#background.add(kept)
  }
}
