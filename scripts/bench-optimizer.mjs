// What clipping and the optimizer are of a training step: both run on the calling thread, in float64, while gradients
// are made on two lanes. Times are of the processor (all threads), so that other work on the machine does not count.
// `share` is that of a step on two free cores, where the lanes' time halves; lanes could take off half of it at most.
//
// npm run bench:optimizer -- [--tokens 1024] [--steps 4] [--sizes small,middle,large]
import { parseArgs } from 'node:util'
import { createRuntime } from 'heddle'
import { CausalLanguageModel } from 'heddle/nn'
import { AdamW, clipGradNorm, crossEntropy, lossAndGradients } from 'heddle/train'

/** About 150,000, 3 million and 25 million parameters. */
const SIZES = {
  small: { layers: 3, modelDim: 64, heads: 4, vocabulary: 28 },
  middle: { layers: 4, modelDim: 256, heads: 4, vocabulary: 128 },
  large: { layers: 8, modelDim: 512, heads: 8, vocabulary: 128 },
}

const { values } = parseArgs({
  options: {
    tokens: { type: 'string', default: '1024' },
    steps: { type: 'string', default: '4' },
    sizes: { type: 'string', default: Object.keys(SIZES).join(',') },
  },
})

const LANES = 2
const runtime = await createRuntime({ workers: LANES, backend: 'wasm' })
for (const name of values.sizes.split(',')) await measure(name)
await runtime.close()

async function measure(name) {
  const model = new CausalLanguageModel(SIZES[name])
  const optimizer = new AdamW(model)
  const shape = [Math.max(1, values.tokens / 256), 256]
  const data = Int32Array.from({ length: shape[0] * shape[1] }, (_, place) => (place * 7919) % model.vocabulary)
  const batch = { tokens: { data, shape }, targets: { data, shape } }
  const rows = []
  for (let step = 0; step <= Number(values.steps); step++) rows.push(await timedStep(model, optimizer, batch))
  const [gradients, clip, update] = [0, 1, 2].map((part) => median(rows.slice(1).map((row) => row[part])))
  const whole = gradients / LANES + clip + update
  const part = (ms) => `${ms.toFixed(1)} ms (share ${((100 * ms) / whole).toFixed(1)} %)`
  console.log(
    `${model.numParameters().toLocaleString('en')} parameters, ${data.length} tokens: gradients ${gradients.toFixed(1)} ms, clipping ${part(clip)}, update ${part(update)}`,
  )
}

/** Milliseconds of the processor for loss and gradients, clipping, and the update. */
async function timedStep(model, optimizer, batch) {
  const start = process.cpuUsage()
  const { gradients } = await lossAndGradients(model, batch, { loss: crossEntropy(), runtime })
  const made = process.cpuUsage()
  await clipGradNorm(gradients, 1)
  const clipped = process.cpuUsage()
  await optimizer.step(gradients)
  const ended = process.cpuUsage()
  return [between(start, made), between(made, clipped), between(clipped, ended)]
}

function between(a, b) {
  return (b.user + b.system - a.user - a.system) / 1000
}

function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)]
}
