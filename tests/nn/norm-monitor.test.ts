import { Linear, NORM_RATIO_LIMIT, TransformerEncoder, type NormEvent } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })

/** y = factor·x + shift, element by element. */
function affine(size: number, factor: number, shift: number): Linear {
  const layer = new Linear(size, size)
  for (let index = 0; index < layer.weight.data.length; index++)
    layer.weight.data[index] = index % (size + 1) === 0 ? factor : 0
  layer.bias?.data.fill(shift)
  for (const parameter of layer.parameters()) parameter.touch()
  return layer
}

async function watch(layer: Linear, input: Float32Array): Promise<{ event: NormEvent; output: number[] }> {
  const events: NormEvent[] = []
  const { output } = await layer.forward(
    { data: input, shape: [input.length / 5, 5] },
    { runtime: runtime(), monitorNorms: (event) => events.push(event) },
  )
  expect(events).toHaveLength(1)
  return { event: events[0]!, output: [...output.data] }
}

describe('the norm monitor', () => {
  const input = normalTensor(new Random(12), [7, 5]).data

  it('tells norms, mean, deviation and the largest magnitude of an output far from 0', async () => {
    const { event, output } = await watch(affine(5, 3, -40), input)
    const norm = (values: ArrayLike<number>) =>
      Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0))
    const mean = output.reduce((sum, value) => sum + value, 0) / output.length
    const deviation = Math.sqrt(output.reduce((sum, value) => sum + (value - mean) ** 2, 0) / output.length)
    expect(deviation).toBeGreaterThan(2)
    expect(event.inputNorm).toBeCloseTo(norm(input), 10)
    expect(event.outputNorm).toBeCloseTo(norm(output), 10)
    expect(event.ratio).toBeCloseTo(norm(output) / norm(input), 10)
    expect(event.mean).toBeCloseTo(mean, 10)
    expect(event.standardDeviation).toBeCloseTo(deviation, 10)
    expect(event.largest).toBe(Math.max(...output.map(Math.abs)))
    expect(event).toMatchObject({ layer: 'Linear', nonFinite: 0 })
  })

  it('warns above a ratio of 10, and not at it', async () => {
    expect(NORM_RATIO_LIMIT).toBe(10)
    const powers = Float32Array.of(1, 2, 4, -8, 16)
    expect((await watch(affine(5, 10, 0), powers)).event).toMatchObject({ ratio: 10, warning: false })
    expect((await watch(affine(5, 10.0625, 0), powers)).event).toMatchObject({ ratio: 10.0625, warning: true })
  })

  it('has a ratio for an input of zeros', async () => {
    expect((await watch(affine(5, 1, 0), new Float32Array(5))).event).toMatchObject({
      inputNorm: 0,
      ratio: 1,
      warning: false,
      standardDeviation: 0,
    })
    expect((await watch(affine(5, 1, 2), new Float32Array(5))).event).toMatchObject({
      inputNorm: 0,
      ratio: Infinity,
      warning: true,
      mean: 2,
    })
  })

  it('counts what is not finite, leaves it out of the numbers, and warns', async () => {
    const { event } = await watch(
      affine(5, 1, 0),
      Float32Array.of(3, 4, 0, 0, 0, 1, NaN, 1, 1, 1, 0, 0, -Infinity, 0, 0),
    )
    // A row with NaN or an infinity has no other finite element: each is multiplied by a 0 of every other column.
    expect(event).toMatchObject({ nonFinite: 10, warning: true, outputNorm: 5, largest: 4, mean: 7 / 5 })
    expect(event.standardDeviation).toBeCloseTo(Math.sqrt(25 / 5 - (7 / 5) ** 2), 12)
  })

  it('hears of every block in order, with what went into it', async () => {
    const events: NormEvent[] = []
    const model = new TransformerEncoder({ modelDim: 8, heads: 2, feedForwardDim: 16, layers: 3 })
    model.blocks[1]!.norm2.weight.data.fill(100)
    model.blocks[1]!.norm2.weight.touch()
    await model.forward(normalTensor(new Random(13), [3, 8]), {
      runtime: runtime(),
      monitorNorms: (event) => events.push(event),
    })
    expect(events.map(({ layer, warning }) => [layer, warning])).toEqual([
      ['layers.0', false],
      ['layers.1', true],
      ['layers.2', false],
    ])
    expect(events[1]!.inputNorm).toBe(events[0]!.outputNorm)
    expect(events[2]!.inputNorm).toBe(events[1]!.outputNorm)
    // A norm with weights of 1 makes rows of length √8.
    expect(events[0]!.outputNorm).toBeCloseTo(Math.sqrt(3 * 8), 3)
    expect(events[1]!.outputNorm).toBeCloseTo(100 * Math.sqrt(3 * 8), 1)
  })
})
