// How time and memory grow with n, and time with workers: one causal head of 64 over n = 1,024 … 65,536, then the same
// work on 1 … all workers, in turns. Exponents are least-squares slopes of log time and log bytes against log n, over
// the larger half of the sizes. Prints two tables; writes build/bench-growth.json.
//
//   npm run bench:growth -- [--sizes 1024,…] [--workers 1,2,…] [--tokens 16384] [--rounds 3] [--quick]
import { mkdir, writeFile } from 'node:fs/promises'
import { availableParallelism } from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { thisMachine } from './bench/this-machine.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { createRuntime } = await import('heddle')
const { values } = parseArgs({
  options: {
    sizes: { type: 'string' },
    workers: { type: 'string' },
    tokens: { type: 'string' },
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
  },
})
const numbers = (text) => text.split(',').map(Number)
const cores = availableParallelism()
const sizes = numbers(values.sizes ?? (values.quick ? '512,1024,2048,4096' : '1024,2048,4096,8192,16384,32768,65536'))
const counts =
  values.workers === undefined
    ? [...new Set([1, 2, 4, 8, 16, cores])].filter((count) => count <= cores).sort((a, b) => a - b)
    : numbers(values.workers)
const tokens = Number(values.tokens ?? (values.quick ? 2048 : 16384))
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))
const HEAD_SIZE = 64

const growth = await measureGrowth()
const scaling = await measureScaling()
await mkdir('build', { recursive: true })
const machine = thisMachine()
await writeFile('build/bench-growth.json', JSON.stringify({ machine, growth, scaling }, null, 2))

async function measureGrowth() {
  const runtime = await createRuntime()
  try {
    await timed(runtime, sizes[0])
    const rows = []
    for (const n of sizes) {
      const runs = []
      for (let round = 0; round < rounds; round++) runs.push(await timed(runtime, n))
      rows.push({ n, ms: median(runs.map(({ ms }) => ms)), bytes: runs[0].bytes, standardBytes: runs[0].standardBytes })
    }
    const upper = rows.slice(rows.length >> 1)
    const timeExponent = slope(upper.map(({ n, ms }) => [n, ms]))
    const memoryExponent = slope(upper.map(({ n, bytes }) => [n, bytes]))
    console.log(`one causal head of ${HEAD_SIZE}, ${runtime.lanes.length} workers`)
    for (const { n, ms, bytes, standardBytes } of rows) {
      console.log(
        `${String(n).padStart(8)}  ${ms.toFixed(1).padStart(10)} ms  ${(bytes / 2 ** 20).toFixed(1).padStart(8)} MiB  (the matrix: ${(standardBytes / 2 ** 20).toFixed(0).padStart(6)} MiB)`,
      )
    }
    console.log(`time ~ n^${timeExponent.toFixed(2)}, memory ~ n^${memoryExponent.toFixed(2)}`)
    return { rows, timeExponent, memoryExponent }
  } finally {
    await runtime.close()
  }
}

async function measureScaling() {
  const runtimes = await Promise.all(counts.map((workers) => createRuntime({ workers })))
  try {
    const times = counts.map(() => [])
    for (const runtime of runtimes) await timed(runtime, tokens)
    for (let round = 0; round < Math.max(rounds, 3); round++) {
      for (const [index, runtime] of runtimes.entries()) times[index].push((await timed(runtime, tokens)).ms)
    }
    // The ratio within each round: a slow moment of the machine falls on both.
    const rows = counts.map((workers, index) => ({
      workers,
      ms: median(times[index]),
      speedup: median(times[index].map((ms, round) => times[0][round] / ms)),
    }))
    console.log(`the same at n = ${tokens}`)
    for (const { workers, ms, speedup } of rows)
      console.log(`${String(workers).padStart(8)} workers  ${ms.toFixed(1).padStart(10)} ms  ${speedup.toFixed(2)} ×`)
    return rows
  } finally {
    await Promise.all(runtimes.map((runtime) => runtime.close()))
  }
}

async function timed(runtime, n) {
  const make = (phase) => {
    const tensor = runtime.tensor([n, HEAD_SIZE])
    for (let at = 0; at < tensor.data.length; at++) tensor.data[at] = Math.sin(at * 1.618 + phase)
    return tensor
  }
  const inputs = { query: make(0), key: make(1), value: make(2) }
  const { report } = await runtime.attention(inputs, { causal: true })
  return { ms: report.elapsedMs, bytes: report.memory.peakBytes, standardBytes: report.plan.standardBytes }
}

function median(list) {
  return [...list].sort((a, b) => a - b)[list.length >> 1]
}

/** Of log y against log x. */
function slope(points) {
  const logs = points.map(([x, y]) => [Math.log(x), Math.log(y)])
  const mean = (axis) => logs.reduce((sum, point) => sum + point[axis], 0) / logs.length
  const [mx, my] = [mean(0), mean(1)]
  return logs.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0) / logs.reduce((sum, [x]) => sum + (x - mx) ** 2, 0)
}
