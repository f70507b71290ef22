import { NumericError, OptionError, ShapeError, type RuntimeOptions, type Tensor } from 'heddle'
import { RMSNorm, type Module } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { unitFixtures, type UnitFixture } from '../support/fixtures.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'
import { GatedUnit } from './gated-unit.ts'
import { worst } from './worst.ts'

/** A chunk size sends even tiny work to the workers; without it the calling thread does it. */
const setups: Record<string, { readonly pool: RuntimeOptions; readonly chunks: { readonly chunkSize?: number } }> = {
  'calling thread': { pool: { workers: 0 }, chunks: {} },
  'two workers': { pool: { workers: 2 }, chunks: { chunkSize: 16 } },
  'two workers without shared memory': { pool: { workers: 2, sharedMemory: 'never' }, chunks: { chunkSize: 16 } },
}

function moduleOf({ kind, settings: { size, epsilon, hidden }, stateDict }: UnitFixture): Module {
  const module = kind === 'RMSNorm' ? new RMSNorm(size, epsilon) : new GatedUnit(size, hidden!, epsilon)
  module.loadStateDict(stateDict)
  return module
}

describe.each(Object.entries(setups))('%s', (_name, { pool, chunks }) => {
  const runtime = useRuntime(pool)

  it.each(unitFixtures().map((fixture) => [fixture.name, fixture] as const))(
    "%s: PyTorch's output and gradients, within the plan",
    async (_case, fixture) => {
      const module = moduleOf(fixture)
      const { input } = fixture.inputs
      const forward = await module.forward(input, { runtime: runtime(), ...chunks })
      expect(forward.output.shape).toEqual(fixture.output.shape)
      expect(worst(forward.output.data, fixture.exactOutput.data)).toBeLessThan(5e-6)
      expect(forward.report.memory.peakBytes).toBeLessThanOrEqual(forward.report.plan.totalBytes)

      const { dInput, gradients, report } = await module.backward(input, fixture.dOutput, {
        runtime: runtime(),
        ...chunks,
      })
      expect(dInput!.shape).toEqual(input.shape)
      expect(worst(dInput!.data, fixture.inputGradients.input.data)).toBeLessThan(2e-5)
      expect([...gradients.keys()]).toEqual(Object.keys(fixture.parameterGradients))
      for (const [name, gradient] of gradients) {
        const expected = fixture.parameterGradients[name]!
        expect(gradient.shape, name).toEqual(expected.shape)
        // Sums over up to 74 rows of products up to 30, in another order than PyTorch's.
        expect(worst(gradient.data, expected.data), name).toBeLessThan(1e-4)
      }
      expect(report.memory.peakBytes).toBeLessThanOrEqual(report.plan.totalBytes)
    },
  )
})

describe('RMSNorm', () => {
  const runtime = useRuntime({ workers: 0 })
  const random = new Random(30)

  /** Σ dOutput ∘ RMSNorm(x) in float64. */
  function objective(x: ArrayLike<number>, w: ArrayLike<number>, dOutput: ArrayLike<number>, epsilon: number): number {
    const size = w.length
    let sum = 0
    for (let start = 0; start < x.length; start += size) {
      let squares = 0
      for (let c = 0; c < size; c++) squares += x[start + c]! ** 2
      const length = Math.sqrt(squares / size + epsilon)
      for (let c = 0; c < size; c++) sum += (dOutput[start + c]! * w[c]! * x[start + c]!) / length
    }
    return sum
  }

  /** ∂f/∂x by moving each element by ±h. */
  function differences(x: ArrayLike<number>, f: (x: readonly number[]) => number): number[] {
    const h = 1e-5
    const moved = (at: number, by: number) => f(Array.from(x, (value, index) => (index === at ? value + by : value)))
    return Array.from(x, (_, at) => (moved(at, h) - moved(at, -h)) / (2 * h))
  }

  it.each([1, 3, 8, 13])('has the gradients that finite differences have, over %i elements', async (size) => {
    const epsilon = 0.01
    const layer = new RMSNorm(size, epsilon)
    const [x, dOutput] = [normalTensor(random, [5, size]), normalTensor(random, [5, size])]
    layer.weight.data.set(normalTensor(random, [size]).data)
    layer.weight.touch()
    const weight = layer.weight.data
    const { dInput, gradients } = await layer.backward(x, dOutput, { runtime: runtime() })
    // The differences' own error is about 1e-9; float32 rounds gradients of size 10 by 1e-6.
    expect(
      worst(
        dInput!.data,
        differences(x.data, (moved) => objective(moved, weight, dOutput.data, epsilon)),
      ),
    ).toBeLessThan(5e-6)
    expect(
      worst(
        gradients.get('weight')!.data,
        differences(weight, (moved) => objective(x.data, moved, dOutput.data, epsilon)),
      ),
    ).toBeLessThan(5e-6)
  })

  it('a frozen weight costs nothing, and the others keep their bits', async () => {
    const unit = new GatedUnit(12, 21)
    const [x, dOutput] = [normalTensor(random, [9, 12]), normalTensor(random, [9, 12])]
    const all = await unit.backward(x, dOutput, { runtime: runtime() })
    const some = await unit.backward(x, dOutput, { runtime: runtime(), only: (name) => name === 'norm.weight' })
    expect([...some.gradients.keys()]).toEqual(['norm.weight'])
    expect(some.gradients.get('norm.weight')).toEqual(all.gradients.get('norm.weight'))
    expect(some.dInput).toEqual(all.dInput)
    expect(some.report.plan.totalBytes).toBeLessThan(all.report.plan.totalBytes)
  })

  it("is told by its trace, and its state dict has PyTorch's name", async () => {
    const layer = new RMSNorm(4)
    const steps: string[] = []
    await layer.forward(normalTensor(random, [2, 3, 4]), {
      runtime: runtime(),
      trace: ({ layer: path, step, shape }) => steps.push(`${path}: ${step} ${shape.join('×')}`),
    })
    expect(steps).toEqual(['RMSNorm: norm 2×3×4'])
    expect(Object.keys(layer.stateDict())).toEqual(['weight'])
    expect([...layer.weight.data]).toEqual([1, 1, 1, 1])
    expect(layer.epsilon).toBe(1e-6)
  })

  it('keeps NaN in its row', async () => {
    const x = normalTensor(random, [3, 5])
    const layer = new RMSNorm(5)
    const before = (await layer.forward(x, { runtime: runtime() })).output.data
    x.data[7] = NaN
    const { output } = await layer.forward(x, { runtime: runtime() })
    expect(Array.from(output.data, Number.isNaN)).toEqual(
      Array.from({ length: 15 }, (_, index) => index >= 5 && index < 10),
    )
    expect(output.data.slice(10)).toEqual(before.slice(10))
  })

  it('refuses other sizes, epsilons and weights', async () => {
    expect(() => new RMSNorm(0)).toThrow(OptionError)
    expect(() => new RMSNorm(4, -1)).toThrow(/RMSNorm: epsilon: expected a number ≥ 0/)
    expect(() => new RMSNorm(4, NaN)).toThrow(OptionError)
    const wrong: Tensor = normalTensor(random, [2, 5])
    await expect(new RMSNorm(4).forward(wrong, { runtime: runtime() })).rejects.toThrow(ShapeError)
    expect(() => new RMSNorm(2).loadStateDict({ weight: { data: Float32Array.of(1, NaN), shape: [2] } })).toThrow(
      NumericError,
    )
  })
})
