import { createHash, randomUUID } from 'node:crypto'
import type { Worker } from 'bullmq'
import type { Redis } from 'ioredis'
import { createRuntime } from '../../attention/create-runtime.ts'
import type { Runtime } from '../../attention/runtime.ts'
import { isCancelled } from '../queue/cancellation.ts'
import { connect } from '../queue/connect.ts'
import { RECORD_EVERY_MS, removeHostRecord, writeHostRecord } from '../queue/host-records.ts'
import { loadPeers, type Peers } from '../queue/load-peers.ts'
import { BULLMQ_PREFIX, queueKeys, type QueueKeys } from '../queue/queue-keys.ts'
import { joinQueue } from '../queue/queue-version.ts'
import { claimRange } from './claim-range.ts'
import { resolveWorkerOptions, type FleetWorkerOptions, type ResolvedWorkerOptions } from './fleet-worker-options.ts'
import type { FleetEvent } from './fleet-log.ts'
import type { HostContext } from './host-context.ts'
import { HostStatistics } from './host-statistics.ts'
import { JobRunner } from './job-runner.ts'
import { ModelShelf } from './model-shelf.ts'
import { TensorShelf } from './tensor-shelf.ts'

/** A host of a fleet, at work. */
export interface FleetWorker {
  /** unlike that of every other host */
  readonly id: string
  /** as given, or made of the machine's name and the process's number */
  readonly name: string
  /**
   * Takes no more jobs and ends the runtime. The running job is finished, or stopped and given back to the queue.
   *
   * @param options.giveBack stops the running job instead of finishing it. @default false
   */
  close(options?: { readonly giveBack?: boolean }): Promise<void>
}

/** A job that was lost with its host is tried again so often; each time another host may be lost. */
const MAX_LOST = 3

/**
 * Makes this process a host: it takes the queue's jobs, one at a time, and runs them on a runtime of its own.
 *
 * @throws {OptionError} for wrong options; {BackendUnavailableError} without bullmq, ioredis or an answer of Redis
 * @throws {ProtocolError} when the queue belongs to another version of Heddle
 *
 * @example
 * ```ts
 * import { folderStore, startFleetWorker } from 'heddle/fleet'
 *
 * const worker = await startFleetWorker({
 *   connection: 'redis://localhost:6379',
 *   store: folderStore('/data'),
 *   onEvent: ({ event, job }) => console.log(event, job),
 * })
 * process.once('SIGTERM', () => void worker.close({ giveBack: true }))
 * ```
 */
export async function startFleetWorker(options: FleetWorkerOptions): Promise<FleetWorker> {
  const resolved = resolveWorkerOptions(options)
  const peers = await loadPeers()
  const redis = await connect(peers.ioredis, resolved)
  const keys = queueKeys(resolved.queue)
  try {
    const queue = new peers.bullmq.Queue(resolved.queue, { connection: redis, prefix: BULLMQ_PREFIX })
    await joinQueue(redis, queue, keys)
    await queue.close()
    const runtime = await createRuntime(resolved.runtime)
    return await new Host({ options: resolved, peers, redis, keys, runtime }).start()
  } catch (error) {
    redis.disconnect()
    throw error
  }
}

interface HostParts {
  readonly options: ResolvedWorkerOptions
  readonly peers: Peers
  readonly redis: Redis
  readonly keys: QueueKeys
  readonly runtime: Runtime
}

class Host implements FleetWorker {
  readonly id = randomUUID()
  readonly name: string
  readonly #parts: HostParts
  readonly #runner: JobRunner
  readonly #statistics: HostStatistics
  readonly #worker: Worker
  readonly #announcements: Redis
  #recordTimer: NodeJS.Timeout | undefined
  #closing: Promise<void> | undefined

  constructor(parts: HostParts) {
    const { options, peers, redis, keys, runtime } = parts
    this.#parts = parts
    this.name = options.name
    const context = this.#context()
    const identity = {
      id: this.id,
      name: this.name,
      lanes: runtime.lanes.length,
      heldBytes: () => context.tensors.heldBytes,
    }
    this.#statistics = new HostStatistics(redis, keys, identity)
    this.#runner = new JobRunner({
      bullmq: peers.bullmq,
      host: context,
      statistics: this.#statistics,
      isCancelled: (call) => isCancelled(redis, keys, call),
      log: (event) => this.#log(event),
      name: this.name,
    })
    this.#announcements = redis.duplicate()
    this.#worker = new peers.bullmq.Worker(options.queue, (job, token) => this.#runner.process(job, token), {
      connection: redis,
      prefix: BULLMQ_PREFIX,
      name: this.name,
      autorun: false,
      runRetryDelay: 1000,
      lockDuration: options.lockMs,
      stalledInterval: options.lockMs,
      maxStalledCount: MAX_LOST,
    })
  }

  async start(): Promise<FleetWorker> {
    const { redis, keys } = this.#parts
    // BullMQ reports lost connections and lost locks here; it goes on by itself.
    this.#worker.on('error', () => undefined)
    redis.on('close', () => this.#log({ event: 'connection lost' }))
    redis.on('ready', () => this.#log({ event: 'connected' }))
    this.#announcements.on('error', () => undefined)
    this.#announcements.on('message', (_channel, call: string) => this.#runner.cancel(call))
    await this.#announcements.subscribe(keys.cancellations)
    await writeHostRecord(redis, keys, this.#statistics.record())
    this.#recordTimer = setInterval(() => this.#writeRecord(), RECORD_EVERY_MS)
    void this.#worker.run()
    this.#log({ event: 'ready' })
    return this
  }

  close({ giveBack = false }: { readonly giveBack?: boolean } = {}): Promise<void> {
    if (giveBack) this.#runner.giveBack()
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { redis, keys, runtime } = this.#parts
    clearInterval(this.#recordTimer)
    await this.#worker.close(redis.status !== 'ready')
    if (redis.status === 'ready') await removeHostRecord(redis, keys, this.id)
    redis.removeAllListeners('close')
    this.#announcements.disconnect()
    redis.disconnect()
    await runtime.close()
    this.#log({ event: 'closed' })
  }

  #context(): HostContext {
    const { options, redis, keys, runtime } = this.#parts
    const firstChoice = createHash('sha256').update(this.id).digest().readUInt32BE()
    return {
      store: options.store,
      runtime,
      tensors: new TensorShelf(options.store, options.heldBytes),
      models: new ModelShelf(options.models, options.loadEmbedder, runtime),
      claim: (claim) => claimRange(redis, keys, { ...claim, firstChoice }),
    }
  }

  #writeRecord(): void {
    const { redis, keys } = this.#parts
    // While Redis is away, records would queue up, each of them old by the time it is written.
    if (redis.status === 'ready') writeHostRecord(redis, keys, this.#statistics.record()).catch(() => undefined)
  }

  #log(event: Omit<FleetEvent, 'time' | 'host'>): void {
    this.#parts.options.onEvent({ time: new Date().toISOString(), host: this.name, ...event })
  }
}
