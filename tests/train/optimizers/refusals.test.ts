import { OptionError, ShapeError } from 'heddle'
import { Parameter } from 'heddle/nn'
import { Adam, AdamW, SGD } from 'heddle/train'
import { describe, expect, it } from 'vitest'
import { gradient, oneOf } from '../support/one-parameter.ts'

describe('an optimizer refuses', () => {
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
