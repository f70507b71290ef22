/** BullMQ's keys start with `heddle:<queue>:`; these are Heddle's own. */
export const BULLMQ_PREFIX = 'heddle'

export interface QueueKeys {
  /** string: which version the queue belongs to */
  readonly version: string
  /** hash: finished jobs and tokens since the queue was made */
  readonly totals: string
  /** set: ids of hosts */
  readonly hosts: string
  /** string, expires: what a host is doing */
  host(id: string): string
  /** hash, expires: key range → job, of a query chunk's partials */
  claims(call: string, chunk: number): string
  /** string, expires: the call is to be dropped */
  cancelled(call: string): string
  /** channel: ids of calls that were cancelled just now */
  readonly cancellations: string
}

export function queueKeys(queue: string): QueueKeys {
  const key = (...parts: readonly (string | number)[]): string => ['heddle-fleet', queue, ...parts].join(':')
  return {
    version: key('version'),
    totals: key('totals'),
    hosts: key('hosts'),
    host: (id) => key('host', id),
    claims: (call, chunk) => key('claims', call, chunk),
    cancelled: (call) => key('cancelled', call),
    cancellations: key('cancellations'),
  }
}
