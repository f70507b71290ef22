import type { Redis } from 'ioredis'
import { version } from '../../core/version.ts'
import type { HostRecord } from '../queue/host-records.ts'
import type { QueueKeys } from '../queue/queue-keys.ts'
import type { JobOutcome } from './host-context.ts'

const RATE_WINDOW_MS = 60_000

interface HostIdentity {
  readonly id: string
  readonly name: string
  readonly lanes: number
  readonly heldBytes: () => number
}

/** What a host has done, for its record and for the queue's totals. */
export class HostStatistics {
  readonly #redis: Redis
  readonly #keys: QueueKeys
  readonly #identity: HostIdentity
  readonly #startedAt = Date.now()
  readonly #recent: { readonly at: number; readonly tokens: number }[] = []
  #done = 0
  #failed = 0
  #tokens = 0
  #job: HostRecord['job'] = null

  constructor(redis: Redis, keys: QueueKeys, identity: HostIdentity) {
    this.#redis = redis
    this.#keys = keys
    this.#identity = identity
  }

  begin(job: NonNullable<HostRecord['job']>): void {
    this.#job = job
  }

  end(): void {
    this.#job = null
  }

  async finish({ tokens }: JobOutcome): Promise<void> {
    this.#done++
    this.#tokens += tokens
    this.#recent.push({ at: Date.now(), tokens })
    await this.#redis.multi().hincrby(this.#keys.totals, 'done', 1).hincrby(this.#keys.totals, 'tokens', tokens).exec()
  }

  async fail(): Promise<void> {
    this.#failed++
    await this.#redis.hincrby(this.#keys.totals, 'failed', 1)
  }

  record(): HostRecord {
    const { heldBytes, ...identity } = this.#identity
    return {
      ...identity,
      pid: process.pid,
      version,
      startedAt: this.#startedAt,
      done: this.#done,
      failed: this.#failed,
      tokens: this.#tokens,
      tokensPerSecond: this.#rate(),
      heldBytes: heldBytes(),
      job: this.#job,
    }
  }

  #rate(): number {
    const now = Date.now()
    while (this.#recent[0] !== undefined && this.#recent[0].at < now - RATE_WINDOW_MS) this.#recent.shift()
    const seconds = Math.min(RATE_WINDOW_MS, Math.max(1, now - this.#startedAt)) / 1000
    return this.#recent.reduce((sum, { tokens }) => sum + tokens, 0) / seconds
  }
}
