// Forward, backward, and twenty steps of plain gradient descent with a layer that the library does not have.
import { createRuntime } from 'heddle'
import { GatedFeedForward } from './gated-feed-forward.js'

const [rows, modelDim, hidden, steps, rate] = [256, 16, 40, 20, 6]
const shape = [rows, modelDim]

/** Rows of some smooth function, the same ones in each run. */
function filled(phase) {
  return {
    data: Float32Array.from({ length: rows * modelDim }, (_, at) => Math.sin(phase + at * 0.37) * Math.cos(at * 0.011)),
    shape,
  }
}

/** Mean squared error, and its gradient with respect to the output. */
function meanSquaredError(output, target) {
  const differences = output.data.map((value, at) => value - target.data[at])
  const loss = differences.reduce((sum, value) => sum + value * value, 0) / differences.length
  return { loss, dOutput: { data: differences.map((value) => (2 * value) / differences.length), shape: output.shape } }
}

/** Steps down the slope. Lanes pack a parameter once: `touch` says that it has changed. */
function descend(layer, gradients) {
  for (const [name, parameter] of layer.namedParameters()) {
    const gradient = gradients.get(name).data
    for (let at = 0; at < gradient.length; at++) parameter.data[at] -= rate * gradient[at]
    parameter.touch()
  }
}

const runtime = await createRuntime()
const layer = new GatedFeedForward(modelDim, hidden)
const [input, target] = [filled(1), filled(1.5)]
console.log(layer.plan(runtime, shape).explain())
const losses = []
for (let step = 0; step < steps; step++) {
  const { output } = await layer.forward(input, { runtime })
  const { loss, dOutput } = meanSquaredError(output, target)
  const { gradients } = await layer.backward(input, dOutput, { runtime })
  descend(layer, gradients)
  losses.push(loss)
}
await runtime.close()
console.log(`mean squared error ${losses[0].toFixed(4)} before, ${losses.at(-1).toFixed(4)} after ${steps} steps`)
process.exitCode = losses.at(-1) < losses[0] / 2 ? 0 : 1
