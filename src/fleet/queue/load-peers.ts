import type * as bullmqModule from 'bullmq'
import type * as ioredisModule from 'ioredis'
import { BackendUnavailableError } from '../../core/errors.ts'

export type BullMq = typeof bullmqModule
export type IoRedis = typeof ioredisModule

export interface Peers {
  readonly bullmq: BullMq
  readonly ioredis: IoRedis
}

/**
 * The optional peers, loaded when a fleet is first made. @throws {BackendUnavailableError} that says what to install
 */
export async function loadPeers(): Promise<Peers> {
  try {
    const [bullmq, ioredis] = await Promise.all([import('bullmq'), import('ioredis')])
    return { bullmq, ioredis }
  } catch (cause) {
    const message =
      'heddle/fleet: expected the packages bullmq and ioredis, and could not load them; run: npm install bullmq ioredis'
    throw new BackendUnavailableError(message, { cause })
  }
}
