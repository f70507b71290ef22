// A performance suite of one's own: Heddle beside a plain implementation, the answers compared before anything is
// timed.
import { createRuntime, tensor } from 'heddle'
import { Bench } from 'tinybench'
import { plainAttention } from './plain-attention.js'

const D = 64
const runtime = await createRuntime()
try {
  for (const n of [128, 512, 1024]) await compare(n)
} finally {
  await runtime.close()
}

async function compare(n) {
  const [query, key, value] = [1, 2, 3].map((seed) =>
    Float32Array.from({ length: n * D }, (_, i) => Math.sin(seed * 7 + i * 1.3)),
  )
  const inputs = { query: tensor(query, [n, D]), key: tensor(key, [n, D]), value: tensor(value, [n, D]) }

  const expected = plainAttention(query, key, value, n, D)
  const { output } = await runtime.attention(inputs)
  const difference = output.data.reduce((worst, element, i) => Math.max(worst, Math.abs(element - expected[i])), 0)
  if (!(difference < 1e-5)) throw new Error(`n = ${n}: the answers differ by ${difference}`)

  const bench = new Bench({ time: 300, iterations: 3, warmupIterations: 2, warmupTime: 50 })
  bench.add('plain JavaScript', () => plainAttention(query, key, value, n, D))
  bench.add('heddle, chunked', async () => runtime.attention(inputs, { mode: 'chunked' }))
  bench.add('heddle, standard', async () => runtime.attention(inputs, { mode: 'standard' }))
  await bench.run()

  console.log(`\nn = ${n}, D = ${D}: largest difference ${difference.toExponential(1)}`)
  console.table(
    bench.tasks.map(({ name, result }) => ({
      task: name,
      'median ms': Number(result.latency.p50.toPrecision(3)),
      '± %': Number(result.latency.rme.toPrecision(2)),
      'GFLOP/s': Number(((4 * n * n * D) / result.latency.p50 / 1e6).toPrecision(3)),
    })),
  )
}
