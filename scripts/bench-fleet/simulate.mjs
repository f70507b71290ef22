// A fleet as a queueing model: hosts take turns at Redis (one command at a time) and at the store (one link), and
// compute by themselves. Every number it prints is simulated from the costs that it is given; nothing here runs on
// hosts.

/**
 * @param {object} costs
 * @param {number} costs.hosts
 * @param {number} costs.jobsPerHost
 * @param {number} costs.computeMs   one job on one host
 * @param {number} costs.redisMs     Redis's processor time per job, half at the start and half at the end
 * @param {number} costs.hostMs      what else a job costs its host beside computing
 * @param {number} costs.readBytes   per job, when the host holds the key range
 * @param {number} costs.rangeBytes  a key range, which a host reads once
 * @param {number} costs.writeBytes
 * @param {number} costs.storeBytesPerMs
 * @returns jobs per second, the part of hosts' time that is computing, and how busy Redis and the store are
 */
export function simulate(costs) {
  const { hosts, jobsPerHost, computeMs, redisMs, hostMs, storeBytesPerMs } = costs
  const redis = { freeAt: 0, busy: 0, service: () => redisMs / 2 }
  const store = { freeAt: 0, busy: 0, service: (bytes) => bytes / storeBytesPerMs }
  const state = Array.from({ length: hosts }, () => ({ at: 0, stage: 0, jobs: 0, holds: false }))
  const stages = [
    (host) => wait(redis, host),
    (host) => {
      wait(store, host, costs.readBytes + (host.holds ? 0 : costs.rangeBytes))
      host.holds = true
    },
    (host) => (host.at += computeMs + hostMs),
    (host) => wait(store, host, costs.writeBytes),
    (host) => {
      wait(redis, host)
      host.jobs++
    },
  ]
  for (;;) {
    const next = earliest(state, jobsPerHost)
    if (next === undefined) break
    stages[next.stage](next)
    next.stage = (next.stage + 1) % stages.length
  }
  const elapsed = Math.max(...state.map(({ at }) => at))
  const jobs = hosts * jobsPerHost
  return {
    hosts,
    jobsPerSecond: (1000 * jobs) / elapsed,
    computing: (jobs * computeMs) / (hosts * elapsed),
    redisBusy: redis.busy / elapsed,
    storeBusy: store.busy / elapsed,
  }
}

/** Arrivals come in order of time, so a resource needs to remember only when it is free. */
function wait(resource, host, bytes = 0) {
  const service = resource.service(bytes)
  const start = Math.max(host.at, resource.freeAt)
  resource.freeAt = start + service
  resource.busy += service
  host.at = resource.freeAt
}

function earliest(state, jobsPerHost) {
  let first
  for (const host of state) if (host.jobs < jobsPerHost && (first === undefined || host.at < first.at)) first = host
  return first
}
