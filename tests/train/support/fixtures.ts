import { readFileSync } from 'node:fs'
import { Parameter } from 'heddle/nn'

/** Elements by parameter name, row-major. */
export type Numbers = Readonly<Record<string, readonly number[]>>

export interface OptimizerFixture {
  readonly name: string
  readonly start: Numbers
  /** one per step */
  readonly gradients: readonly Numbers[]
  /** parameters after this many steps */
  readonly after: Readonly<Record<string, Numbers>>
}

export interface ClippingFixture {
  readonly by: 'norm' | 'value'
  readonly limit: number
  readonly gradients: readonly (readonly number[])[]
  readonly norm?: number
  readonly clipped: readonly (readonly number[])[]
}

export interface LossFixture {
  readonly labelSmoothing: number
  readonly logits: readonly number[]
  readonly targets: readonly number[]
  readonly value: number
  readonly gradient: readonly number[]
}

interface TrainFixtures {
  readonly optimizers: readonly OptimizerFixture[]
  readonly clipping: readonly ClippingFixture[]
  readonly schedule: {
    readonly base: number
    readonly minimum: number
    readonly steps: number
    readonly rates: readonly { readonly step: number; readonly rate: number }[]
  }
  readonly losses: readonly LossFixture[]
}

/** What PyTorch answered: tests/fixtures/generate_train.py. */
export const fixtures = JSON.parse(
  readFileSync(new URL('../../fixtures/train.json', import.meta.url), 'utf8'),
) as TrainFixtures

const SHAPES: Readonly<Record<string, readonly number[]>> = {
  'embedding.weight': [3, 4],
  'norm.weight': [4],
  'norm.bias': [4],
}

/** The fixture's parameters with these values. */
export function parametersOf(values: Numbers): Map<string, Parameter> {
  const parameters = Object.entries(values).map(([name, elements]): [string, Parameter] => {
    const parameter = new Parameter(SHAPES[name] ?? [elements.length])
    parameter.data.set(elements)
    return [name, parameter]
  })
  return new Map(parameters)
}

export function gradientsOf(values: Numbers): Map<string, { data: Float32Array; shape: readonly number[] }> {
  return new Map(
    Object.entries(values).map(([name, elements]) => [
      name,
      { data: Float32Array.from(elements), shape: SHAPES[name] ?? [elements.length] },
    ]),
  )
}
