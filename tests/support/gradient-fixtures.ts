import { readFileSync } from 'node:fs'
import type { Tensor } from 'heddle'

interface PlainTensor {
  readonly shape: number[]
  readonly data: number[]
}

type PlainTensors = Record<string, PlainTensor>

/** Gradients of the layer of examples/custom-layer, and the losses of 20 steps of plain descent towards `target`. */
export interface CustomFixture {
  readonly input: PlainTensor
  readonly dOutput: PlainTensor
  readonly output: PlainTensor
  readonly dInput: PlainTensor
  readonly state: PlainTensors
  readonly gradients: PlainTensors
  readonly target: PlainTensor
  readonly rate: number
  readonly curve: number[]
}

/** The loss of a small language model, its gradients, and 20 steps of AdamW. */
export interface ModelFixture {
  readonly tokens: PlainTensor
  readonly targets: PlainTensor
  readonly segments: PlainTensor
  readonly positions: PlainTensor
  readonly state: PlainTensors
  readonly plain: { readonly loss: number; readonly gradients: PlainTensors }
  readonly packed: { readonly loss: number; readonly gradients: PlainTensors }
  readonly curve: number[]
}

export function gradientFixtures(): { readonly custom: CustomFixture; readonly model: ModelFixture } {
  return JSON.parse(readFileSync(new URL('../fixtures/gradients.json', import.meta.url), 'utf8')) as {
    custom: CustomFixture
    model: ModelFixture
  }
}

export const floats = ({ data, shape }: PlainTensor): Tensor => ({ data: Float32Array.from(data), shape })
export const integers = ({ data, shape }: PlainTensor): Tensor<Int32Array> => ({ data: Int32Array.from(data), shape })
export const floatsByName = (tensors: PlainTensors): Record<string, Tensor> =>
  Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, floats(tensor)]))

/** The largest difference beside the largest expected number. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  let [worst, largest] = [actual.length === expected.length ? 0 : Infinity, 1e-30]
  for (let index = 0; index < expected.length; index++) {
    const difference = Math.abs((actual[index] ?? NaN) - (expected[index] ?? NaN))
    worst = Math.max(worst, Number.isNaN(difference) ? Infinity : difference)
    largest = Math.max(largest, Math.abs(expected[index] ?? 0))
  }
  return worst / largest
}
