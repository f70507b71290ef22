import { NumericError, OptionError, ShapeError } from 'heddle'
import { Linear, Parameter } from 'heddle/nn'
import { Adam, AdamW, cosineAnnealing, SGD, type Optimizer, type Schedule } from 'heddle/train'
import { describe, expect, it } from 'vitest'
import { fixtures, gradientsOf, parametersOf } from './support/fixtures.ts'

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

/** One parameter of four elements and its gradient. */
function oneOf(values: readonly number[] = [1, -2, 3, 0.5]): Parameters {
  const weight = new Parameter([values.length])
  weight.data.set(values)
  return new Map([['weight', weight]])
}
const gradient = (...values: number[]) =>
  new Map([['weight', { data: Float32Array.from(values), shape: [values.length] }]])
const weights = (parameters: Parameters): number[] => Array.from(parameters.get('weight')?.data ?? [])

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

describe('bad input', () => {
  const made = (): AdamW => new AdamW(oneOf())

  it.each([
    ['an unknown name', () => new AdamW(oneOf(), { lr: 1 } as never), OptionError, /got "lr"/],
    [
      'no learning rate',
      () => new SGD(oneOf(), {} as never),
      OptionError,
      /SGD: option learningRate: expected a finite number ≥ 0, got undefined/,
    ],
    [
      'a learning rate of NaN',
      () => new Adam(oneOf(), { learningRate: NaN }),
      OptionError,
      /Adam: option learningRate: expected a finite number ≥ 0, got number NaN/,
    ],
    [
      'beta 1',
      () => new Adam(oneOf(), { betas: [0.9, 1] }),
      OptionError,
      /option betas: expected two numbers from 0, below 1/,
    ],
    ['negative weight decay', () => new AdamW(oneOf(), { weightDecay: -1 }), OptionError, /option weightDecay/],
    ['momentum 1', () => new SGD(oneOf(), { learningRate: 1, momentum: 1 }), OptionError, /option momentum/],
    [
      'Nesterov without momentum',
      () => new SGD(oneOf(), { learningRate: 1, nesterov: true }),
      OptionError,
      /option nesterov: expected a momentum above 0 with it/,
    ],
    [
      'a group without match',
      () => new AdamW(oneOf(), { groups: [{ weightDecay: 0 } as never] }),
      OptionError,
      /option groups\[0\].match: expected a function/,
    ],
    [
      'a wrong value in a group',
      () => new AdamW(oneOf(), { groups: [{ match: () => true, epsilon: -1 }] }),
      OptionError,
      /option groups\[0\].epsilon/,
    ],
    [
      'a name of another optimizer in a group',
      () => new AdamW(oneOf(), { groups: [{ match: () => true, momentum: 0.9 } as never] }),
      OptionError,
      /groups\[0\].*got "momentum"/,
    ],
    ['no parameters', () => new AdamW(new Map()), OptionError, /AdamW: parameters: expected at least one parameter/],
    ['something else', () => new AdamW({} as never), OptionError, /AdamW: parameters: expected a Module or a Map/],
    [
      'a map of tensors',
      () => new AdamW(new Map([['a', { data: new Float32Array(1), shape: [1] }]]) as never),
      OptionError,
      /expected a Map from names to Parameters/,
    ],
  ] as const)('%s', (_, call, error, message) => {
    expect(call).toThrow(error)
    expect(call).toThrow(message)
  })

  it.each([
    ['an object', () => made().step({ weight: 1 } as never), OptionError, /expected a Map of gradients/],
    [
      'an unknown parameter',
      () => made().step(new Map([...gradient(1, 1, 1, 1), ['bias', { data: new Float32Array(1), shape: [1] }]])),
      OptionError,
      /expected gradients of this optimizer's parameters, got bias/,
    ],
    [
      'another shape',
      () => made().step(gradient(1, 2)),
      ShapeError,
      /expected the gradient of weight to have shape \[4\], got \[2\]/,
    ],
    [
      'a gradient that is no tensor',
      () => made().step(new Map([['weight', [1]]]) as never),
      OptionError,
      /expected the gradient of weight as a float32 tensor/,
    ],
    [
      'a rate that is no number',
      () => made().step(gradient(1, 1, 1, 1), { learningRate: () => NaN }),
      OptionError,
      /AdamW: step: learning rate: expected a finite number ≥ 0, got number NaN/,
    ],
    [
      'a rate as text',
      () => made().step(gradient(1, 1, 1, 1), { learningRate: '1' as never }),
      OptionError,
      /expected a number or a function/,
    ],
  ] as const)('step: %s', async (_, call, error, message) => {
    await expect(call()).rejects.toThrow(error)
    await expect(call()).rejects.toThrow(message)
  })

  it('lists what is wrong with a saved state, and keeps its own', async () => {
    const parameters = new Map([...oneOf(), ['bias', new Parameter([1])]])
    const optimizer = new AdamW(parameters)
    await optimizer.step(new Map([...gradient(1, 1, 1, 1), ['bias', { data: Float32Array.of(1), shape: [1] }]]))
    const state = optimizer.stateDict()
    const { 'firstMoment.weight': first, ...without } = state
    expect(first?.shape).toEqual([4])
    const changed = (other: object) => () => optimizer.loadStateDict({ ...state, ...other })
    expect(() =>
      optimizer.loadStateDict({ ...without, 'momentum.bias': { data: new Float32Array(1), shape: [1] } }),
    ).toThrow(
      'AdamW: loadStateDict: expected the state of this optimizer for these parameters; missing firstMoment.weight; unexpected momentum.bias',
    )
    expect(changed({ 'secondMoment.weight': { data: new Float32Array(3), shape: [3] } })).toThrow(
      /expected secondMoment.weight of shape \[4\], got \[3\]/,
    )
    expect(changed({ 'steps.bias': { data: Int32Array.of(0), shape: [1] } })).toThrow(
      /expected steps.bias to be 1 or more, got 0/,
    )
    expect(changed({ 'steps.bias': { data: new Float32Array(1), shape: [1] } })).toThrow(
      /expected steps.bias as a tensor over a Int32Array/,
    )
    expect(changed({ 'firstMoment.bias': { data: Float32Array.of(NaN), shape: [1] } })).toThrow(
      /got NaN at element 0 of firstMoment.bias/,
    )
    expect(() => new SGD(parameters, { learningRate: 1 }).loadStateDict(state)).toThrow(
      /unexpected firstMoment.weight, secondMoment.weight, firstMoment.bias/,
    )
    expect(optimizer.stateDict()).toEqual(state)
  })
})
