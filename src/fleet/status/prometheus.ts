import type { FleetStatus } from './fleet-status.ts'

interface Metric {
  readonly name: string
  readonly type: 'gauge' | 'counter'
  readonly help: string
  readonly samples: readonly { readonly labels?: Readonly<Record<string, string>>; readonly value: number }[]
}

/** A status in Prometheus's text format (https://prometheus.io/docs/instrumenting/exposition_formats/). */
export function prometheusText(status: FleetStatus): string {
  return metricsOf(status).map(metricText).join('')
}

function metricsOf({ queue, jobs, tokens, tokensPerSecond, hosts }: FleetStatus): Metric[] {
  const ofQueue = { queue }
  const states = { waiting: jobs.waiting, waiting_for_others: jobs.waitingForOthers, active: jobs.active }
  const perHost = (value: (host: FleetStatus['hosts'][number]) => number): Metric['samples'] => hosts.map((host) => ({ labels: { queue, host: host.name }, value: value(host) }))
  return [
    { name: 'heddle_fleet_jobs', type: 'gauge', help: 'Jobs by state.', samples: Object.entries(states).map(([state, value]) => ({ labels: { queue, state }, value })) },
    { name: 'heddle_fleet_jobs_done_total', type: 'counter', help: 'Jobs that hosts have finished.', samples: [{ labels: ofQueue, value: jobs.done }] },
    { name: 'heddle_fleet_jobs_failed_total', type: 'counter', help: 'Tries of jobs that failed.', samples: [{ labels: ofQueue, value: jobs.failed }] },
    { name: 'heddle_fleet_tokens_total', type: 'counter', help: 'Document tokens and merged query rows.', samples: [{ labels: ofQueue, value: tokens }] },
    { name: 'heddle_fleet_tokens_per_second', type: 'gauge', help: 'The same per second, over the last minute.', samples: [{ labels: ofQueue, value: tokensPerSecond }] },
    { name: 'heddle_fleet_hosts', type: 'gauge', help: 'Hosts heard of lately.', samples: [{ labels: ofQueue, value: hosts.length }] },
    { name: 'heddle_fleet_host_lanes', type: 'gauge', help: 'Lanes of a host.', samples: perHost(({ lanes }) => lanes) },
    { name: 'heddle_fleet_host_active', type: 'gauge', help: 'Whether a host is working on a job.', samples: perHost(({ job }) => (job === null ? 0 : 1)) },
    { name: 'heddle_fleet_host_jobs_done_total', type: 'counter', help: 'Jobs that a host has finished.', samples: perHost(({ done }) => done) },
    { name: 'heddle_fleet_host_held_bytes', type: 'gauge', help: 'Keys and values that a host keeps in memory.', samples: perHost(({ heldBytes }) => heldBytes) },
  ]
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
