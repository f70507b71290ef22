import type { Parameter } from 'heddle/nn'
import { Adam, AdamW, cosineAnnealing, SGD, type Optimizer, type Schedule } from 'heddle/train'
import { describe, expect, it } from 'vitest'
import { fixtures, gradientsOf, parametersOf } from '../support/fixtures.ts'

type Parameters = Map<string, Parameter>

/** Each of PyTorch's runs, set up here. */
const RUNS: Readonly<
  Record<string, { readonly make: (parameters: Parameters) => Optimizer; readonly schedule?: Schedule }>
> = {
  SGD: { make: (parameters) => new SGD(parameters, { learningRate: 0.01 }) },
  'SGD with momentum': { make: (parameters) => new SGD(parameters, { learningRate: 0.01, momentum: 0.9 }) },
  'SGD with Nesterov momentum and weight decay': {
    make: (parameters) => new SGD(parameters, { learningRate: 0.003, momentum: 0.8, nesterov: true, weightDecay: 0.1 }),
  },
  Adam: { make: (parameters) => new Adam(parameters) },
  'Adam with weight decay': {
    make: (parameters) =>
      new Adam(parameters, { learningRate: 0.02, betas: [0.8, 0.95], epsilon: 1e-6, weightDecay: 0.3 }),
  },
  AdamW: { make: (parameters) => new AdamW(parameters) },
  'AdamW with groups and a schedule': {
    make: (parameters) =>
      new AdamW(parameters, {
        learningRate: 0.01,
        weightDecay: 0.1,
        groups: [{ match: (name) => name.startsWith('norm.'), weightDecay: 0, learningRate: 0.05 }],
      }),
    schedule: cosineAnnealing({ steps: 30, minimum: 1e-4 }),
  },
}

/**
 * Float32 rounds each of 30 updates, here and there at other places: some units in the last place of the largest value.
 */
const TOLERANCE = 30 * 2 ** -24

describe('updates equal PyTorch’s over 30 steps', () => {
  it('with a set-up here for every run there', () => {
    expect(Object.keys(RUNS)).toEqual(fixtures.optimizers.map(({ name }) => name))
  })

  it.each(fixtures.optimizers)('$name', async ({ name, start, gradients, after }) => {
    const parameters = parametersOf(start)
    const run = RUNS[name]
    if (run === undefined) throw new Error(`no run is called ${name}`)
    const { schedule } = run
    const optimizer = run.make(parameters)
    let compared = 0
    for (const [index, given] of gradients.entries()) {
      await optimizer.step(
        gradientsOf(given),
        schedule === undefined ? {} : { learningRate: (base) => schedule(index, base) },
      )
      for (const [parameter, expected] of Object.entries(after[index + 1] ?? {})) {
        const actual = parameters.get(parameter)?.data ?? []
        const largest = Math.max(...expected.map(Math.abs))
        const worst = Math.max(...expected.map((value, element) => Math.abs(value - (actual[element] ?? NaN))))
        expect(worst, `${parameter} after ${index + 1} steps`).toBeLessThan(TOLERANCE * largest)
        compared += expected.length
      }
    }
    expect(compared).toBe(3 * 20)
  })
})
