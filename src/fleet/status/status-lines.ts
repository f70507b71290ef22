import type { FleetStatus } from './fleet-status.ts'

/**
 * A status as lines for a terminal: one for the queue, one per host.
 *
 * @param status of one queue
 */
export function statusLines({ queue, jobs, tokensPerSecond, hosts }: FleetStatus): string[] {
  const width = Math.max(0, ...hosts.map(({ name }) => name.length))
  const ready = `${jobs.waiting} waiting, ${jobs.waitingForOthers} waiting for others, ${jobs.active} active`
  return [
    `queue ${queue}: ${ready}, ${jobs.done} done, ${jobs.failed} failed, ${tokensPerSecond.toFixed(1)} tokens/s`,
    ...(hosts.length === 0 ? ['no hosts'] : hosts.map((host) => hostLine(host, width))),
  ]
}

function hostLine(
  { name, lanes, done, failed, tokensPerSecond, heldBytes, job }: FleetStatus['hosts'][number],
  width: number,
): string {
  const seconds = job === null ? 0 : Math.max(0, Math.round((Date.now() - job.since) / 1000))
  const work = job === null ? 'idle' : `${job.kind} ${job.id} for ${seconds} s`
  const held = `${Math.round(heldBytes / 2 ** 20)} MiB held`
  const counts = `${lanes} lane${lanes === 1 ? '' : 's'}, ${done} done, ${failed} failed`
  return `${name.padEnd(width)}  ${counts}, ${tokensPerSecond.toFixed(1)} tokens/s, ${held}, ${work}`
}
