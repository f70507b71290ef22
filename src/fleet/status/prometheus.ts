import type { HostRecord } from '../queue/host-records.ts'
import type { FleetStatus } from './fleet-status.ts'

interface Metric {
  readonly name: string
  readonly type: 'gauge' | 'counter'
  readonly help: string
  readonly samples: readonly { readonly labels?: Readonly<Record<string, string>>; readonly value: number }[]
}

/**
 * A status in Prometheus's text format (https://prometheus.io/docs/instrumenting/exposition_formats/).
 *
 * @param status of one queue
 */
export function prometheusText(status: FleetStatus): string {
  return metricsOf(status).map(metricText).join('')
}

function metricsOf({ queue, jobs, tokens, tokensPerSecond, hosts }: FleetStatus): Metric[] {
  const states = { waiting: jobs.waiting, waiting_for_others: jobs.waitingForOthers, active: jobs.active }
  const byState = Object.entries(states).map(([state, value]) => ({ labels: { queue, state }, value }))
  const one = (value: number): Metric['samples'] => [{ labels: { queue }, value }]
  const each = (value: (host: HostRecord) => number): Metric['samples'] =>
    hosts.map((host) => ({ labels: { queue, host: host.name }, value: value(host) }))
  return [
    gauge('jobs', 'Jobs by state.', byState),
    counter('jobs_done_total', 'Jobs that hosts have finished.', one(jobs.done)),
    counter('jobs_failed_total', 'Tries of jobs that failed.', one(jobs.failed)),
    counter('tokens_total', 'Document tokens and merged query rows.', one(tokens)),
    gauge('tokens_per_second', 'The same per second, over the last minute.', one(tokensPerSecond)),
    gauge('hosts', 'Hosts heard of lately.', one(hosts.length)),
    gauge(
      'host_lanes',
      'Lanes of a host.',
      each(({ lanes }) => lanes),
    ),
    gauge(
      'host_active',
      'Whether a host is working on a job.',
      each(({ job }) => (job === null ? 0 : 1)),
    ),
    counter(
      'host_jobs_done_total',
      'Jobs that a host has finished.',
      each(({ done }) => done),
    ),
    gauge(
      'host_held_bytes',
      'Keys and values that a host keeps in memory.',
      each(({ heldBytes }) => heldBytes),
    ),
  ]
}

function gauge(name: string, help: string, samples: Metric['samples']): Metric {
  return { name: `heddle_fleet_${name}`, type: 'gauge', help, samples }
}

function counter(name: string, help: string, samples: Metric['samples']): Metric {
  return { name: `heddle_fleet_${name}`, type: 'counter', help, samples }
}

function metricText({ name, type, help, samples }: Metric): string {
  const lines = samples.map(({ labels = {}, value }) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escapeLabel(text)}"`)
    return `${name}{${pairs.join(',')}} ${value}\n`
  })
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`
}

function escapeLabel(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}
