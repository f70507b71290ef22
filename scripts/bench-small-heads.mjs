// Many small heads beside one long call of as many flops with the same head size: GFLOP/s, the share of the long call's
// speed, and two workers against one and against none. Answers are held against float64 first; all take turns. Beside
// the time of the clock stands the processor time of the busiest thread, on Linux: other programs do not change it.
//
//   npm run bench:small-heads -- [rounds]
import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { createRuntime } = await import('heddle')
const rounds = Number(process.argv[2] ?? 15)
const LONG = 1024
const WORKERS = [0, 1, 2]
const CASES = [
  { name: 'windows of a vision model', B: 1024, H: 3, n: 49, D: 32 },
  { name: 'short texts', B: 64, H: 12, n: 128, D: 64 },
]

const runtimes = await Promise.all(WORKERS.map((workers) => createRuntime({ workers })))
for (const each of CASES) await measureCase(each)
await Promise.all(runtimes.map((runtime) => runtime.close()))

async function measureCase({ name, B, H, n, D }) {
  const flops = B * H * n * n * 4 * D
  const longHeads = Math.max(1, Math.round(flops / (LONG * LONG * 4 * D)))
  const small = inputsOf([B, H, n, D])
  const long = inputsOf([1, longHeads, LONG, D])
  const samples = WORKERS.map(() => ({ small: [], long: [] }))
  for (let round = -2; round < rounds; round++) {
    for (const [index, runtime] of runtimes.entries()) {
      const times = { small: await timed(runtime, small), long: await timed(runtime, long) }
      if (round >= 0) for (const kind of ['small', 'long']) samples[index][kind].push(times[kind])
    }
  }
  console.log(`${name}: B ${B}, H ${H}, n ${n}, D ${D}, beside ${longHeads} heads of n ${LONG}`)
  const longFlops = longHeads * LONG * LONG * 4 * D
  for (const [index, workers] of WORKERS.entries())
    for (const clock of ['wallMs', 'processorMs']) report({ samples, index, workers, clock, flops, longFlops })
}

function report({ samples, index, workers, clock, flops, longFlops }) {
  const of = (at, kind) => samples[at][kind].map((time) => time[clock])
  if (of(index, 'small').some(Number.isNaN)) return
  const speed = (times, count) => count / median(times) / 1e6
  const shares = of(index, 'small').map((ms, round) => (flops / ms / (longFlops / of(index, 'long')[round])) * 100)
  const against = WORKERS.slice(0, index).map((other, at) => {
    const ratio = median(of(at, 'small').map((ms, round) => ms / of(index, 'small')[round]))
    return `${ratio.toFixed(2)} × ${other === 0 ? 'none' : `${other} worker`}`
  })
  const cells = [
    `${workers} workers`.padEnd(10),
    (clock === 'wallMs' ? 'clock' : 'processor').padEnd(10),
    `${speed(of(index, 'small'), flops).toFixed(1)} GFLOP/s`.padStart(14),
    `(${speed(of(index, 'long'), longFlops).toFixed(1)} long)`.padStart(12),
    `${median(shares).toFixed(0)} %`.padStart(6),
    against.join(', '),
  ]
  console.log(`  ${cells.join('  ')}`)
}

function inputsOf(shape) {
  const make = (phase) => {
    const tensor = runtimes[0].tensor(shape)
    for (let at = 0; at < tensor.data.length; at++) tensor.data[at] = Math.sin(at * 1.618 + phase)
    return tensor
  }
  return { query: make(0), key: make(1), value: make(2) }
}

async function timed(runtime, inputs) {
  const before = threadTimes()
  const startMs = performance.now()
  const { output } = await runtime.attention(inputs)
  const wallMs = performance.now() - startMs
  const after = threadTimes()
  checkRow(inputs, output)
  const spent = [...after].map(([thread, ms]) => ms - (before.get(thread) ?? 0))
  return { wallMs, processorMs: spent.length === 0 ? NaN : Math.max(...spent) }
}

/** Processor milliseconds of each thread so far; none where the system does not tell. */
function threadTimes() {
  try {
    return new Map(
      readdirSync('/proc/self/task').map((thread) => {
        const [nanoseconds] = readFileSync(`/proc/self/task/${thread}/schedstat`, 'utf8').split(' ')
        return [thread, Number(nanoseconds) / 1e6]
      }),
    )
  } catch {
    return new Map()
  }
}

/** The last row of the last head against float64. */
function checkRow({ query, key, value }, output) {
  const [, , n, D] = query.shape
  const first = query.data.length - n * D
  const scores = Array.from({ length: n }, (_, j) => {
    let dot = 0
    for (let c = 0; c < D; c++) dot += query.data[first + (n - 1) * D + c] * key.data[first + j * D + c]
    return dot / Math.sqrt(D)
  })
  const top = Math.max(...scores)
  const weights = scores.map((score) => Math.exp(score - top))
  const sum = weights.reduce((total, weight) => total + weight, 0)
  for (let c = 0; c < D; c++) {
    const expected = weights.reduce((total, weight, j) => total + weight * value.data[first + j * D + c], 0) / sum
    const found = output.data[first + (n - 1) * D + c]
    if (Math.abs(found - expected) > 1e-5) throw new Error(`small heads: expected ${expected}, got ${found}`)
  }
}

function median(list) {
  return [...list].sort((a, b) => a - b)[list.length >> 1]
}
