import type { FlowProducer, Queue, QueueEvents } from 'bullmq'
import type { Redis } from 'ioredis'
import { BackendUnavailableError, RuntimeClosedError } from '../../core/errors.ts'
import { connect } from '../queue/connect.ts'
import type { ResolvedQueueOptions } from '../queue/fleet-options.ts'
import { loadPeers } from '../queue/load-peers.ts'
import { BULLMQ_PREFIX, queueKeys, type QueueKeys } from '../queue/queue-keys.ts'
import { joinQueue } from '../queue/queue-version.ts'
import { JobWatcher } from './job-watcher.ts'

/** The asking side's connection to a queue. */
export interface FleetConnectionParts {
  readonly redis: Redis
  readonly keys: QueueKeys
  readonly queue: Queue
  readonly flows: FlowProducer
  readonly watcher: JobWatcher
  /** aborts when Redis has been away for too long, and at `close` */
  readonly ended: AbortSignal
  close(): Promise<void>
}

/**
 * Connects and joins the queue.
 *
 * @param lostAfterMs how long Redis may be away before waiting calls fail
 * @throws {BackendUnavailableError} {ProtocolError} as `connect` and `joinQueue` do
 */
export async function openFleetConnection(
  options: ResolvedQueueOptions,
  lostAfterMs: number,
): Promise<FleetConnectionParts> {
  const { bullmq, ioredis } = await loadPeers()
  const redis = await connect(ioredis, options)
  const keys = queueKeys(options.queue)
  const shared = { connection: redis, prefix: BULLMQ_PREFIX }
  const queue = new bullmq.Queue(options.queue, shared)
  const events: QueueEvents = new bullmq.QueueEvents(options.queue, shared)
  const flows = new bullmq.FlowProducer(shared)
  // All of them report lost connections so; ioredis connects again by itself.
  const ignore = (): void => undefined
  queue.on('error', ignore)
  events.on('error', ignore)
  flows.on('error', ignore)
  const ended = new AbortController()
  const stopTimer = endWhenLost(redis, lostAfterMs, ended)
  const close = async (): Promise<void> => {
    ended.abort(new RuntimeClosedError('fleet: the fleet was closed'))
    stopTimer()
    const isAway = redis.status !== 'ready'
    if (isAway) (await events.getBackend().client).disconnect()
    const closed = Promise.allSettled([events.close(), flows.close(), queue.close()])
    // BullMQ says goodbye, which needs a connection: without one it might wait until Redis is back.
    if (!isAway) await closed
    redis.disconnect()
  }
  try {
    await joinQueue(redis, queue, keys)
    await events.waitUntilReady()
  } catch (error) {
    await close()
    throw error
  }
  const watcher = new JobWatcher(queue, events)
  ended.signal.addEventListener('abort', () => watcher.rejectAll(ended.signal.reason))
  return { redis, keys, queue, flows, watcher, ended: ended.signal, close }
}

/** Aborts `ended` when the connection has been away for too long. @returns what stops that */
function endWhenLost(redis: Redis, lostAfterMs: number, ended: AbortController): () => void {
  let timer: NodeJS.Timeout | undefined
  const lost = (): void =>
    ended.abort(
      new BackendUnavailableError(`fleet: expected Redis to be back within ${lostAfterMs} ms, but it is still away`),
    )
  const onClose = (): void => void (timer ??= setTimeout(lost, lostAfterMs))
  const stop = (): void => {
    clearTimeout(timer)
    timer = undefined
  }
  redis.on('close', onClose)
  redis.on('ready', stop)
  return () => {
    redis.off('close', onClose)
    stop()
  }
}
