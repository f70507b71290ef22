import type { Tensor } from 'heddle'
import type { Module } from 'heddle/nn'
import { SGD } from 'heddle/train'
import { describe, expect, it } from 'vitest'
// @ts-expect-error -- an example in JavaScript, as its readers copy it
import { GatedFeedForward } from '../../examples/custom-layer/gated-feed-forward.js'
import { floats, floatsByName, gradientFixtures, relativeError } from '../support/gradient-fixtures.ts'
import { useRuntime } from '../support/runtimes.ts'

const { custom: fixture } = gradientFixtures()
const Gated = GatedFeedForward as new (modelDim: number, hidden: number) => Module

function makeLayer(): Module {
  const layer = new Gated(6, 10)
  layer.loadStateDict(floatsByName(fixture.state))
  return layer
}

describe.each([
  ['the calling thread', { workers: 0 }],
  ['two workers', { workers: 2 }],
] as const)("a layer of one's own on %s", (_name, options) => {
  const runtime = useRuntime(options)

  it("has PyTorch's output and gradients", async () => {
    const layer = makeLayer()
    const { output } = await layer.forward(floats(fixture.input), { runtime: runtime() })
    expect(relativeError(output.data, fixture.output.data)).toBeLessThan(1e-5)
    const { dInput, gradients } = await layer.backward(floats(fixture.input), floats(fixture.dOutput), {
      runtime: runtime(),
    })
    expect(relativeError(dInput!.data, fixture.dInput.data)).toBeLessThan(1e-5)
    expect([...gradients.keys()].sort()).toEqual(['down', 'gate', 'up'])
    for (const [name, { data }] of gradients)
      expect(relativeError(data, fixture.gradients[name]!.data), name).toBeLessThan(1e-5)
  })

  it('follows PyTorch through 20 steps of plain descent', async () => {
    const layer = makeLayer()
    const optimizer = new SGD(layer, { learningRate: fixture.rate })
    const [input, target] = [floats(fixture.input), floats(fixture.target)]
    const losses: number[] = []
    for (let step = 0; step < 20; step++) {
      const { output } = await layer.forward(input, { runtime: runtime() })
      const differences = output.data.map((value, at) => value - target.data[at]!)
      losses.push(differences.reduce((sum, value) => sum + value * value, 0) / differences.length)
      const dOutput: Tensor = {
        data: differences.map((value) => (2 * value) / differences.length),
        shape: output.shape,
      }
      const { gradients } = await layer.backward(input, dOutput, { runtime: runtime() })
      await optimizer.step(gradients)
    }
    losses.forEach((loss, step) => expect(Math.abs(loss - fixture.curve[step]!), `step ${step}`).toBeLessThan(1e-5))
    expect(losses[19]).toBeLessThan(0.9 * losses[0]!)
  })

  it('is planned before it runs, and its plan holds', async () => {
    const layer = makeLayer()
    const { totalBytes } = layer.plan(runtime(), fixture.input.shape)
    const { report } = await layer.forward(floats(fixture.input), { runtime: runtime() })
    expect(report.memory.peakBytes).toBeLessThanOrEqual(totalBytes)
  })
})
