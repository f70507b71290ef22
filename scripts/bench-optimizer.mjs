// What clipping and the optimizer are of a training step, on the calling thread and on two lanes, in turns. Times are
// of the clock: on a busy machine the two lanes may not get a core each, and the fastest step says more than the median.
//
// npm run bench:optimizer -- [--tokens 1024] [--steps 6] [--sizes small,middle,large]
import { parseArgs } from 'node:util'
import { createRuntime } from 'heddle'
import { CausalLanguageModel } from 'heddle/nn'
import { AdamW, clipFactor, crossEntropy, gradientNorm, lossAndGradients } from 'heddle/train'

/** About 150,000, 3 million and 25 million parameters. */
const SIZES = {
  small: { layers: 3, modelDim: 64, heads: 4, vocabulary: 28 },
  middle: { layers: 4, modelDim: 256, heads: 4, vocabulary: 128 },
  large: { layers: 8, modelDim: 512, heads: 8, vocabulary: 128 },
}
/** The lanes' gradients stay where the lanes can read them, as `train` has them. */
const WAYS = [
  { name: 'calling thread', isOnLanes: false },
  { name: 'two lanes', isOnLanes: true },
]

const { values } = parseArgs({
  options: {
    tokens: { type: 'string', default: '1024' },
    steps: { type: 'string', default: '6' },
    sizes: { type: 'string', default: Object.keys(SIZES).join(',') },
  },
})

const runtime = await createRuntime({ workers: 2, backend: 'wasm' })
for (const name of values.sizes.split(',')) await measure(name)
await runtime.close()

async function measure(name) {
  const rounds = WAYS.map((way) => ({ ...way, ...made(name), times: [] }))
  for (let step = 0; step <= Number(values.steps); step++)
    for (const round of rounds) round.times.push(await timedStep(round))
  const [first] = rounds
  console.log(
    `${first.model.numParameters().toLocaleString('en')} parameters, ${first.batch.tokens.data.length} tokens`,
  )
  for (const { name, threads, times } of rounds) {
    const parts = ['gradients', 'norm', 'update'].map((part) => `${part} ${spread(times.slice(1), part)}`)
    console.log(`  ${name.padEnd(14)} ${parts.join(', ')} (updated on: ${[...threads].join(', ')})`)
  }
  const [bytes, others] = rounds.map(({ model }) => model.parameters().map(({ data }) => Buffer.from(data.buffer)))
  if (!bytes.every((part, index) => part.equals(others[index])))
    throw new Error('expected the same bits on the calling thread and on the lanes')
}

function made(name) {
  const model = new CausalLanguageModel({ ...SIZES[name], seed: 1 })
  const shape = [Math.max(1, values.tokens / 256), 256]
  const data = Int32Array.from({ length: shape[0] * shape[1] }, (_, place) => (place * 7919) % model.vocabulary)
  const batch = { tokens: { data, shape }, targets: { data, shape } }
  return { model, batch, optimizer: new AdamW(model), threads: new Set() }
}

/** Milliseconds of each part of a step. */
async function timedStep({ model, batch, optimizer, isOnLanes, threads }) {
  const where = isOnLanes ? { runtime } : {}
  const startMs = performance.now()
  const { gradients } = await lossAndGradients(model, batch, {
    loss: crossEntropy(),
    runtime,
    sharedGradients: isOnLanes,
  })
  const madeMs = performance.now()
  const norm = await gradientNorm(gradients, where)
  const normMs = performance.now()
  const { thread } = await optimizer.step(gradients, { ...where, gradientScale: clipFactor(norm, 1) })
  threads.add(thread)
  return { gradients: madeMs - startMs, norm: normMs - madeMs, update: performance.now() - normMs }
}

/** The median and the fastest. */
function spread(times, part) {
  const sorted = times.map((each) => each[part]).toSorted((a, b) => a - b)
  return `${sorted[Math.floor(sorted.length / 2)].toFixed(1)} ms (fastest ${sorted[0].toFixed(1)})`
}
