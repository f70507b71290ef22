import type { Tensor } from 'heddle'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FleetSite, until } from './support/fleet-site.ts'
import { HostProcess } from './support/host-process.ts'
import { hasRedis, RedisServer } from './support/redis-server.ts'

const KEYS = 1_048_576
const QUERIES = 256
const D = 64
const SAMPLED = [0, 1, 127, 128, 200, 255]
const inputs = {
  query: { file: 'q.safetensors', name: 'q' },
  key: { file: 'k.safetensors', name: 'k' },
  value: { file: 'v.safetensors', name: 'v' },
}

/** Half a gigabyte of keys and values, and some 70 GFLOP. */
describe.skipIf(!hasRedis || process.env['HEDDLE_HEAVY'] !== '1')('1,048,576 keys', () => {
  let server: RedisServer
  let site: FleetSite
  const hosts: HostProcess[] = []

  beforeAll(async () => {
    server = await RedisServer.start()
    site = await FleetSite.open(server)
  })
  afterAll(async () => {
    await Promise.all(hosts.map((host) => host.end()))
    await site.close()
    await server.stop()
  })

  test('by key ranges on two processes, sampled rows against float64', async () => {
    const [q, k, v] = [uniform([QUERIES, D], 4, 1), uniform([KEYS, D], 1, 2), uniform([KEYS, D], 1, 3)]
    await site.write('q.safetensors', { q })
    await site.write('k.safetensors', { k })
    await site.write('v.safetensors', { v })
    hosts.push(new HostProcess(site, 'first'), new HostProcess(site, 'second'))
    await Promise.all(hosts.map((host) => host.ready()))
    const result = await (await site.fleet()).attention(inputs, { queryRows: 128 })
    expect(result.report).toMatchObject({ jobs: 1 + 2 * (1 + 16), keyRows: 65_536 })
    const { output } = await result.rows(0, QUERIES)
    let worst = 0
    for (const row of SAMPLED) {
      const exact = exactRow(q, k, v, row)
      for (let column = 0; column < D; column++)
        worst = Math.max(worst, Math.abs(exact[column]! - output.data[row * D + column]!))
    }
    console.log(
      `${result.report.elapsedMs.toFixed(0)} ms; largest error over ${SAMPLED.length} rows ${worst.toExponential(1)}`,
    )
    // The floor of the tolerance of wasm lanes: values are at most 1.
    expect(worst).toBeLessThan(1e-6)
    await until('both did partials', () =>
      hosts.every(({ lines }) => lines.some((line) => line.includes('finished partial'))),
    )
  }, 400_000)
})

/** Uniform in (−spread, spread); a multiplicative generator is fast enough for 67 million. */
function uniform(shape: readonly [number, number], spread: number, seed: number): Tensor {
  let state = seed
  const data = new Float32Array(shape[0] * shape[1])
  for (let index = 0; index < data.length; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    data[index] = spread * (state / 2 ** 31 - 1)
  }
  return { data, shape }
}

function exactRow(q: Tensor, k: Tensor, v: Tensor, row: number): Float64Array {
  const scores = new Float64Array(KEYS)
  let max = -Infinity
  for (let key = 0; key < KEYS; key++) {
    let score = 0
    for (let d = 0; d < D; d++) score += q.data[row * D + d]! * k.data[key * D + d]!
    scores[key] = score / Math.sqrt(D)
    max = Math.max(max, scores[key]!)
  }
  const output = new Float64Array(D)
  let sum = 0
  for (let key = 0; key < KEYS; key++) {
    const weight = Math.exp(scores[key]! - max)
    sum += weight
    for (let d = 0; d < D; d++) output[d]! += weight * v.data[key * D + d]!
  }
  return output.map((x) => x / sum)
}
