import { checkInteger, expected } from '../../core/check.ts'

/**
 * Where Redis is: `redis://…`, or `rediss://…` for TLS, or the options of ioredis (host, port, username, password, tls,
 * …).
 */
export type FleetConnection = string | Readonly<Record<string, unknown>>

/** What the asking side and the hosts have in common. */
export interface QueueOptions {
  /** Where Redis is. */
  readonly connection: FleetConnection
  /** The queue's name, of letters, digits and `._-`. Both sides use the same one. @default 'heddle' */
  readonly queue?: string
  /** How long the first answer of Redis may take. @default 5,000 */
  readonly connectTimeoutMs?: number
}

export interface ResolvedQueueOptions {
  readonly connection: FleetConnection
  readonly queue: string
  readonly connectTimeoutMs: number
}

/** @throws {OptionError} for wrong values */
export function resolveQueueOptions(
  what: string,
  { connection, queue = 'heddle', connectTimeoutMs = 5000 }: QueueOptions,
): ResolvedQueueOptions {
  const isUrl = typeof connection === 'string' && /^rediss?:\/\//.test(connection)
  if (!isUrl && (typeof connection !== 'object' || (connection as unknown) === null)) {
    throw expected(
      `${what}: option connection`,
      'a redis:// or rediss:// address, or an object with the options of ioredis',
      connection,
    )
  }
  if (typeof queue !== 'string' || !/^[\w.-]{1,64}$/.test(queue))
    throw expected(`${what}: option queue`, "up to 64 letters, digits, '.', '_' or '-'", queue)
  checkInteger(`${what}: option connectTimeoutMs`, connectTimeoutMs, 1)
  return { connection, queue, connectTimeoutMs }
}
