import { randomUUID } from 'node:crypto'
import { HeddleError } from '../../core/errors.ts'
import { jobBase, type FleetJob } from '../jobs/job-format.ts'
import { JOB_OPTIONS } from '../jobs/job-options.ts'
import { announceCancellation } from '../queue/cancellation.ts'
import type { FleetStore } from '../store/fleet-store.ts'
import { documentPath, exists, hashOf, readTensors } from '../store/results.ts'
import { checkDocument, type EmbedRequest, type FleetDocument, type FleetEmbedResult } from './embed-request.ts'
import type { Asking } from './run-attention.ts'
import { settle } from './settle.ts'

/** Puts documents into the queue, at most `inFlight` ahead of whoever takes the results, and yields these in order. */
export async function* runEmbed(
  asking: Asking,
  request: EmbedRequest,
): AsyncGenerator<FleetEmbedResult, void, undefined> {
  const run = new EmbedRun(asking, request)
  const { documents, inFlight, signal } = request
  const { ended } = asking.parts
  const waiting: Promise<FleetEmbedResult>[] = []
  let isLast = false
  try {
    for (let index = 0; ;) {
      while (!isLast && waiting.length < inFlight) {
        const next = await settle(Promise.resolve(documents.next()), signal, ended)
        if (next.done === true) isLast = true
        else waiting.push(run.embed(index++, next.value))
      }
      const first = waiting.shift()
      if (first === undefined) return
      yield await settle(first, signal, ended)
    }
  } finally {
    // Also when the caller stops early: what it does not take is not computed.
    if (!isLast) await documents.return?.()
    run.dropRest()
  }
}

/** The jobs of one call of `fleet.embed`. */
class EmbedRun {
  readonly #asking: Asking
  readonly #request: EmbedRequest
  readonly #call = randomUUID()
  readonly #jobs = new Set<string>()
  readonly #startMs = performance.now()
  #done = 0
  #failed = 0

  constructor(asking: Asking, request: EmbedRequest) {
    this.#asking = asking
    this.#request = request
  }

  /** What becomes of a document: its own errors are results; what would stop every other too is thrown. */
  embed(index: number, document: unknown): Promise<FleetEmbedResult> {
    const result = this.#embed(index, document).then(
      (embedding) => ({ index, embedding }),
      (error: unknown) => {
        if (!(error instanceof HeddleError) || this.#asking.parts.ended.aborted) throw error
        this.#failed++
        return { index, error }
      },
    )
    const reported = result.then((value) => {
      this.#done++
      this.#request.onProgress?.({
        done: this.#done,
        failed: this.#failed,
        elapsedMs: performance.now() - this.#startMs,
      })
      return value
    })
    // Whoever stops early does not wait for it.
    reported.catch(() => undefined)
    return reported
  }

  /** Removes the jobs that nobody waits for any more. */
  dropRest(): void {
    const { parts, inBackground } = this.#asking
    if (this.#jobs.size === 0 || parts.ended.aborted) return
    const rest = [...this.#jobs]
    for (const id of rest) parts.watcher.forget(id)
    inBackground(
      announceCancellation(parts.redis, parts.keys, this.#call).then(() =>
        Promise.all(rest.map((id) => parts.queue.remove(id).catch(() => 0))),
      ),
    )
  }

  async #embed(index: number, document: unknown): Promise<Float32Array> {
    checkDocument(index, document)
    const { parts, store } = this.#asking
    const file = await storeDocument(store, document)
    const job: FleetJob = { ...jobBase(this.#call), kind: 'embed', document: file, model: this.#request.model }
    const id = randomUUID()
    this.#jobs.add(id)
    await parts.queue.add(job.kind, job, { ...JOB_OPTIONS, jobId: id })
    const outcome = (await parts.watcher.wait(id)) as { readonly result: string }
    this.#jobs.delete(id)
    return (await readTensors(store, outcome.result, ['embedding'])).embedding.data
  }
}

/** The path of a document, which is written under its hash where it is a text. */
async function storeDocument(store: FleetStore, document: FleetDocument): Promise<string> {
  if (typeof document !== 'string') return document.file
  const bytes = new TextEncoder().encode(document)
  const path = documentPath(hashOf(bytes))
  if (!(await exists(store, path))) await store.write(path, bytes)
  return path
}
