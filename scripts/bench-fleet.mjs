// What a fleet costs: the overhead of a job beside calling the runtime, one against two worker processes with one lane
// each, and a simulation of 10, 100 and 1,000 hosts from the measured overheads. Needs redis-server. Writes
// build/bench-fleet.json.
//
//   npm run bench:fleet -- [--rounds 3] [--tokens 16384] [--quick]
import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { simulate } from './bench-fleet/simulate.mjs'
import { thisMachine } from './bench/this-machine.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { createRuntime, mergePartials } = await import('heddle')
const { createFleet, folderStore } = await import('heddle/fleet')
const { writeSafetensors } = await import('heddle/nn')
const { Redis } = await import('ioredis')
const { values } = parseArgs({
  options: { rounds: { type: 'string' }, tokens: { type: 'string' }, quick: { type: 'boolean', default: false } },
})
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))
const tokens = Number(values.tokens ?? (values.quick ? 4096 : 16384))
const D = 64
const port = await freePort()
const connection = `redis://127.0.0.1:${port}`
const folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-bench-fleet-'))
const children = [
  spawn('redis-server', ['--port', String(port), '--bind', '127.0.0.1', '--save', ''], { stdio: 'ignore' }),
]
const redis = new Redis(connection, { maxRetriesPerRequest: null })
redis.on('error', () => undefined)
for (const name of ['SIGINT', 'SIGTERM']) {
  process.once(name, () => {
    for (const child of children) child.kill()
    process.exit(130)
  })
}

try {
  await redis.ping()
  const store = folderStore(folder)
  const overhead = await measureOverhead(store)
  const scaling = await measureScaling(store)
  const simulation = simulateFleets(overhead)
  await mkdir('build', { recursive: true })
  const machine = thisMachine()
  await writeFile('build/bench-fleet.json', JSON.stringify({ machine, rounds, overhead, scaling, simulation }, null, 2))
} finally {
  redis.disconnect()
  for (const child of children) child.kill()
  await rm(folder, { recursive: true, force: true })
}

/** The same partials and merges through a host, and by calling the runtime: in turns, answers compared. */
async function measureOverhead(store) {
  const size = 2048
  const cut = { queryRows: 128, keyRows: 1024 }
  const tensors = await writeInputs(store, 'overhead.safetensors', size)
  const runtime = await createRuntime({ workers: 1, numerics: 'portable' })
  const host = await startHost('overhead', 'overhead-host')
  const fleet = await createFleet({ connection, queue: 'overhead', store })
  const direct = []
  const through = []
  let redisMs = 0
  let jobs = 0
  for (let round = 0; round <= rounds; round++) {
    const start = performance.now()
    const expected = await directly(runtime, tensors, size, cut)
    const middle = performance.now()
    const before = await redisProcessorMs()
    const result = await fleet.attention(inputsOf('overhead.safetensors'), { ...cut, queryOffset: round })
    const end = performance.now()
    if (round === 0) {
      // queryOffset means nothing without a causal mask: it only makes each round a call of its own.
      same(expected, (await result.rows(0, size)).output.data)
      continue
    }
    redisMs += (await redisProcessorMs()) - before
    jobs += result.report.jobs
    direct.push(middle - start)
    through.push(end - middle)
  }
  await fleet.close()
  await runtime.close()
  host.kill()
  const perCall = jobs / rounds
  const figures = {
    jobs: perCall,
    directMs: median(direct),
    fleetMs: median(through),
    perJobMs: (median(through) - median(direct)) / perCall,
    redisMsPerJob: redisMs / jobs,
  }
  console.log(
    `overhead: ${perCall} jobs; directly ${figures.directMs.toFixed(0)} ms, through a host ${figures.fleetMs.toFixed(0)} ms: ${figures.perJobMs.toFixed(2)} ms per job, of which Redis computes ${figures.redisMsPerJob.toFixed(3)} ms`,
  )
  return figures
}

async function directly(runtime, { q, k, v }, size, { queryRows, keyRows }) {
  const output = new Float32Array(size * D)
  const rows = (tensor, start, count) => ({
    data: tensor.data.subarray(start * D, (start + count) * D),
    shape: [count, D],
  })
  for (let row = 0; row < size; row += queryRows) {
    const partials = []
    for (let key = 0; key < size; key += keyRows) {
      partials.push(
        await runtime.attention(
          { query: rows(q, row, queryRows), key: rows(k, key, keyRows), value: rows(v, key, keyRows) },
          { returnLogSumExp: true },
        ),
      )
    }
    output.set(mergePartials(partials.map(({ output, logSumExp }) => ({ output, logSumExp }))).output.data, row * D)
  }
  return output
}

/** One call on one host and on two, in turns. */
async function measureScaling(store) {
  await writeInputs(store, 'scaling.safetensors', tokens)
  const hosts = [await startHost('one', 'one-a'), await startHost('two', 'two-a'), await startHost('two', 'two-b')]
  const fleets = {
    one: await createFleet({ connection, queue: 'one', store }),
    two: await createFleet({ connection, queue: 'two', store }),
  }
  const times = { one: [], two: [] }
  let offset = 0
  for (let round = 0; round <= rounds; round++) {
    for (const name of ['one', 'two']) {
      const start = performance.now()
      await fleets[name].attention(inputsOf('scaling.safetensors'), {
        queryRows: Math.max(256, tokens / 16),
        keyRows: tokens / 2,
        queryOffset: offset++,
      })
      if (round > 0) times[name].push(performance.now() - start)
    }
  }
  for (const fleet of Object.values(fleets)) await fleet.close()
  for (const host of hosts) host.kill()
  const figures = {
    tokens,
    oneMs: median(times.one),
    twoMs: median(times.two),
    speedup: median(times.one) / median(times.two),
    bestSpeedup: Math.min(...times.one) / Math.min(...times.two),
  }
  console.log(
    `scaling: ${tokens} tokens on one process ${figures.oneMs.toFixed(0)} ms, on two ${figures.twoMs.toFixed(0)} ms: ${figures.speedup.toFixed(2)} times as fast (fastest of each: ${figures.bestSpeedup.toFixed(2)})`,
  )
  return figures
}

/**
 * With jobs of the default size (4,096 rows × 65,536 keys × 64) on hosts of 100 GFLOP/s, and small ones, over 10
 * Gbit/s.
 */
function simulateFleets({ perJobMs, redisMsPerJob }) {
  const chunkBytes = 4096 * D * 4
  const jobs = [
    {
      name: '4,096 rows × 65,536 keys',
      computeMs: (4 * 4096 * 65_536 * D) / 1e8,
      readBytes: chunkBytes,
      rangeBytes: 2 * 65_536 * D * 4,
      writeBytes: chunkBytes,
    },
    {
      name: '512 rows × 8,192 keys',
      computeMs: (4 * 512 * 8192 * D) / 1e8,
      readBytes: chunkBytes / 8,
      rangeBytes: 2 * 8192 * D * 4,
      writeBytes: chunkBytes / 8,
    },
  ]
  console.log('SIMULATED, not measured: hosts of 100 GFLOP/s, a store of 1.25 GB/s, the overheads above')
  return jobs.flatMap(({ name, ...job }) =>
    [10, 100, 1000].map((hosts) => {
      const result = simulate({
        hosts,
        jobsPerHost: 20,
        redisMs: redisMsPerJob,
        hostMs: Math.max(0, perJobMs - redisMsPerJob),
        storeBytesPerMs: 1.25e6,
        ...job,
      })
      const percent = (part) => `${(100 * part).toFixed(0).padStart(3)} %`
      console.log(
        `  ${name}, ${String(hosts).padStart(5)} hosts: ${result.jobsPerSecond.toFixed(0).padStart(6)} jobs/s, computing ${percent(result.computing)}, Redis busy ${percent(result.redisBusy)}, store busy ${percent(result.storeBusy)}`,
      )
      return { name, ...result }
    }),
  )
}

async function writeInputs(store, file, size) {
  let state = 7
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1
  const make = () => ({ data: Float32Array.from({ length: size * D }, random), shape: [size, D] })
  const tensors = { q: make(), k: make(), v: make() }
  await store.write(file, writeSafetensors(tensors))
  return tensors
}

function inputsOf(file) {
  return { query: { file, name: 'q' }, key: { file, name: 'k' }, value: { file, name: 'v' } }
}

function startHost(queue, name) {
  const args = ['dist/cli.js', 'fleet-worker', '--queue', queue, '--data', folder, '--lanes', '1', '--name', name]
  const child = spawn(process.execPath, args, {
    env: { ...process.env, HEDDLE_REDIS_URL: connection },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  children.push(child)
  return new Promise((resolve, reject) => {
    child.stdout.on('data', (text) => String(text).includes(' ready') && resolve(child))
    child.once('exit', (status) => reject(new Error(`the host ${name} ended with ${status}`)))
  })
}

async function redisProcessorMs() {
  const info = await redis.info('cpu')
  const seconds = ['used_cpu_user', 'used_cpu_sys'].map((name) =>
    Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(info)?.[1]),
  )
  return 1000 * (seconds[0] + seconds[1])
}

function same(expected, actual) {
  const index = expected.findIndex((value, place) => !Object.is(value, actual[place]))
  if (index >= 0 || expected.length !== actual.length)
    throw new Error(`the fleet's answer differs from the runtime's at element ${index}`)
}

function median(numbers) {
  return [...numbers].sort((a, b) => a - b)[numbers.length >> 1]
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}
