import { NumericError } from 'heddle'
import { Linear, Parameter } from 'heddle/nn'
import { Adam, AdamW, SGD } from 'heddle/train'
import { describe, expect, it } from 'vitest'
import { gradient, oneOf, weights, type Parameters } from '../support/one-parameter.ts'

describe('an optimizer', () => {
  it('takes a module, and says that parameters have changed', async () => {
    const layer = new Linear(3, 2, { seed: 1 })
    const optimizer = new SGD(layer, { learningRate: 1 })
    const [weight, bias] = [layer.namedParameters().get('weight'), layer.namedParameters().get('bias')]
    const [before, version] = [Array.from(weight?.data ?? []), weight?.version ?? NaN]
    await optimizer.step(new Map([['weight', { data: new Float32Array(6).fill(2), shape: [2, 3] }]]))
    expect(Array.from(weight?.data ?? [])).toEqual(before.map((value) => Math.fround(value - 2)))
    expect(weight?.version).toBe(version + 1)
    // without a gradient nothing happens to a parameter
    expect(bias?.data).toEqual(new Float32Array(2))
    expect(bias?.version).toBe(0)
  })

  it('counts the steps of each parameter by itself, as PyTorch does', async () => {
    const parameters = new Map([...oneOf(), ['late', new Parameter([1])]])
    const optimizer = new Adam(parameters, { learningRate: 0.5 })
    for (let step = 0; step < 5; step++) await optimizer.step(gradient(1, 1, 1, 1))
    await optimizer.step(new Map([['late', { data: Float32Array.of(3), shape: [1] }]]))
    // the first update of Adam has the size of the rate, whatever the gradient's
    expect(parameters.get('late')?.data[0]).toBeCloseTo(-0.5, 6)
    expect(optimizer.stateDict()['steps.late']?.data).toEqual(Int32Array.of(1))
    expect(optimizer.stateDict()['steps.weight']?.data).toEqual(Int32Array.of(5))
  })

  it('updates a parameter with two names once', async () => {
    const parameters = oneOf([1])
    const shared = parameters.get('weight')
    if (shared === undefined) throw new Error('no weight')
    const optimizer = new SGD(new Map([...parameters, ['again', shared]]), { learningRate: 1 })
    expect([...optimizer.parameters.keys()]).toEqual(['weight'])
    await optimizer.step(gradient(0.25))
    expect(weights(parameters)).toEqual([0.75])
  })

  it('gives a parameter to the first group that has it', () => {
    const optimizer = new AdamW(
      new Map([
        ['a.weight', new Parameter([1])],
        ['a.bias', new Parameter([1])],
        ['b.bias', new Parameter([1])],
      ]),
      {
        learningRate: 3,
        groups: [
          { match: (name) => name.startsWith('a.'), learningRate: 1 },
          { match: (name) => name.endsWith('.bias'), weightDecay: 0 },
        ],
      },
    )
    expect(optimizer.groups.map(({ names }) => names)).toEqual([['a.weight', 'a.bias'], ['b.bias'], []])
    expect(
      optimizer.groups.map(({ hyperparameters }) => [hyperparameters.learningRate, hyperparameters.weightDecay]),
    ).toEqual([
      [1, 0.01],
      [3, 0],
      [3, 0.01],
    ])
    expect(optimizer.learningRate).toBe(3)
  })

  it.each([
    ['SGD', (parameters: Parameters) => new SGD(parameters, { learningRate: 0.1, momentum: 0.5 })],
    ['AdamW', (parameters: Parameters) => new AdamW(parameters, { learningRate: 0.1 })],
  ] as const)('%s goes on from its saved state with the same bits', async (_, make) => {
    const first = oneOf()
    const optimizer = make(first)
    for (let step = 0; step < 3; step++) await optimizer.step(gradient(0.1, step, -3, 1e-3))
    const state = optimizer.stateDict()
    const second = oneOf(weights(first))
    const resumed = make(second)
    resumed.loadStateDict(state)
    for (let step = 0; step < 3; step++) {
      await optimizer.step(gradient(1, 0.3, step, 0))
      await resumed.step(gradient(1, 0.3, step, 0))
    }
    expect(weights(second)).toEqual(weights(first))
    expect(resumed.stateDict()).toEqual(optimizer.stateDict())
    // what was saved is a copy
    expect(Array.from(state['steps.weight']?.data ?? [])).toEqual([3])
  })

  it('leaves everything as it was when a gradient is not finite', async () => {
    const parameters = new Map([...oneOf(), ['last', new Parameter([2])]])
    const optimizer = new AdamW(parameters, { learningRate: 0.1 })
    const last = (value: number) =>
      new Map([...gradient(1, 2, 3, 4), ['last', { data: Float32Array.of(0, value), shape: [2] }]])
    await optimizer.step(last(1))
    const [before, state] = [weights(parameters), optimizer.stateDict()]
    for (const value of [NaN, Infinity, -Infinity]) {
      const error: unknown = await optimizer.step(last(value)).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(NumericError)
      expect((error as Error).message).toBe(`AdamW: step: expected finite gradients, got ${value} at element 1 of last`)
      expect(weights(parameters)).toEqual(before)
      expect(optimizer.stateDict()).toEqual(state)
    }
  })

  it('leaves everything as it was when an update leads beyond float32', async () => {
    for (const make of [
      (p: Parameters) => new SGD(p, { learningRate: 1e30 }),
      (p: Parameters) => new Adam(p, { betas: [0.9, 0] }),
    ]) {
      const parameters = oneOf()
      const optimizer = make(parameters)
      await expect(optimizer.step(gradient(1, 1e20, 1, 1))).rejects.toThrow(
        /expected weight to stay finite, but the update leads beyond float32/,
      )
      expect(weights(parameters)).toEqual([1, -2, 3, 0.5])
    }
  })

  it('never shows a half-committed update, and lets the event loop turn in between', async () => {
    const parameters = new Map(['a', 'b'].map((name): [string, Parameter] => [name, new Parameter([3_000_000])]))
    const optimizer = new AdamW(parameters, { learningRate: 1, weightDecay: 0 })
    const gradients = new Map(
      [...parameters].map(([name, { shape, data }]) => [name, { data: new Float32Array(data.length).fill(1), shape }]),
    )
    let [turns, done] = [0, false]
    const step = optimizer.step(gradients).then(() => (done = true))
    while (!done) {
      await new Promise((resolve) => setImmediate(resolve))
      turns++
      const seen = [...parameters.values()].flatMap(({ data }) => [data[0], data[2_999_999]])
      expect(new Set(seen).size).toBe(1)
    }
    await step
    expect(turns).toBeGreaterThan(2)
    expect(parameters.get('b')?.data[7]).toBeCloseTo(-1, 5)
  })

  it('hears an abort, and then nothing has changed', async () => {
    const parameters = new Map([['weight', new Parameter([4_000_000])]])
    const optimizer = new AdamW(parameters, { learningRate: 1 })
    const controller = new AbortController()
    const step = optimizer.step(
      new Map([['weight', { data: new Float32Array(4_000_000).fill(1), shape: [4_000_000] }]]),
      { signal: controller.signal },
    )
    controller.abort(new Error('enough'))
    await expect(step).rejects.toThrow('enough')
    expect(parameters.get('weight')?.data.every((value) => value === 0)).toBe(true)
    expect(optimizer.stateDict()).toEqual({})
  })

  it('refuses a second step during the first', async () => {
    const optimizer = new SGD(oneOf(), { learningRate: 1 })
    const first = optimizer.step(gradient(1, 1, 1, 1))
    await expect(optimizer.step(gradient(1, 1, 1, 1))).rejects.toThrow(
      'SGD: step: expected the earlier step to end first',
    )
    await first
  })
})
