import type { Redis } from 'ioredis'
import { BackendUnavailableError } from '../../core/errors.ts'
import type { ResolvedQueueOptions } from './fleet-options.ts'
import type { IoRedis } from './load-peers.ts'

/** BullMQ refuses any other value: a command waits until Redis is back. */
const WAIT_FOR_REDIS = {
  maxRetriesPerRequest: null,
  lazyConnect: true,
  retryStrategy: (attempt: number) => Math.min(100 * attempt, 2000),
} as const

/**
 * A connection that has answered once, and that connects again whenever it is lost.
 *
 * @throws {BackendUnavailableError} when there is no answer in time, or Redis refuses
 */
export async function connect(
  { Redis: Client }: IoRedis,
  { connection, connectTimeoutMs }: ResolvedQueueOptions,
): Promise<Redis> {
  const redis =
    typeof connection === 'string'
      ? new Client(connection, WAIT_FOR_REDIS)
      : new Client({ ...connection, ...WAIT_FOR_REDIS })
  let lastError: Error | undefined
  // Without a listener, an event named 'error' ends the process.
  redis.on('error', (error: Error) => (lastError = error))
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(lastError ?? new Error(`no answer within ${connectTimeoutMs} ms`)),
      connectTimeoutMs,
    )
  })
  try {
    await Promise.race([redis.connect().then(() => redis.ping()), late])
    return redis
  } catch (cause) {
    redis.disconnect()
    const reason = lastError ?? (cause as Error)
    const message = `fleet: expected Redis at ${addressOf(connection)} to answer, got: ${reason.message || String(reason)}`
    throw new BackendUnavailableError(message, { cause: reason })
  } finally {
    clearTimeout(timer)
  }
}

/** The address without its password. */
function addressOf(connection: ResolvedQueueOptions['connection']): string {
  if (typeof connection !== 'string') {
    const { host = '127.0.0.1', port = 6379 } = connection as { readonly host?: string; readonly port?: number }
    return `${host}:${port}`
  }
  if (!URL.canParse(connection)) return 'an address that is none'
  const { protocol, host } = new URL(connection)
  return `${protocol}//${host}`
}
