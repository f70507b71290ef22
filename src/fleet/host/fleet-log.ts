import type { FleetJob } from '../jobs/job-format.ts'

/** Something that happened on a host. */
export interface FleetEvent {
  /** ISO 8601 */
  readonly time: string
  /** the host's name */
  readonly host: string
  /** what happened */
  readonly event:
    'ready' | 'started' | 'finished' | 'skipped' | 'failed' | 'returned' | 'connection lost' | 'connected' | 'closed'
  /** the job's id, where it is about one */
  readonly job?: string
  /** what kind of job it is */
  readonly kind?: FleetJob['kind']
  /** what a finished or failed job took */
  readonly elapsedMs?: number
  /** a sentence more, such as the message of an error */
  readonly detail?: string
}

/**
 * One line for a terminal or a log file: time, host, event, kind and job, duration, detail.
 *
 * @param event what happened
 */
export function formatFleetEvent({ time, host, event, job, kind, elapsedMs, detail }: FleetEvent): string {
  const parts = [
    time,
    host,
    event,
    kind,
    job,
    elapsedMs === undefined ? undefined : `${Math.round(elapsedMs)} ms`,
    detail,
  ]
  return parts.filter((part) => part !== undefined).join(' ')
}
