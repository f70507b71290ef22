import type { Runtime, Tensor } from 'heddle'
import type { AnyModule } from 'heddle/nn'
import { Random } from '../../support/random.ts'
import { filled, shared } from '../../support/tensors.ts'

/** How a case is run; none of it may change a bit. */
export interface Setting {
  readonly runtime: Runtime
  readonly chunkSize?: number
  /** whether inputs are in shared memory */
  readonly sharedInputs: boolean
}

/** The arrays that a run returns, by name. */
export type Results = Readonly<Record<string, Float32Array | Int32Array>>

/** One use of a layer or model whose results have known bits. */
export interface LayerCase {
  readonly name: string
  run(setting: Setting): Promise<Results>
}

/** Uniform in [−2, 2): no engine's own `Math.log` or `Math.cos`, so that the input has the same bits everywhere. */
export function uniformTensor(seed: number, shape: readonly number[]): Tensor {
  const random = new Random(seed)
  return filled(shape, () => 4 * random.uniform() - 2)
}

/** Gives biases and norms values of their own: at the start they are 0 and 1, which would hide where they are used. */
export function randomised<M extends AnyModule>(module: M): M {
  const random = new Random(91)
  for (const [name, parameter] of module.namedParameters()) {
    if (parameter.shape.length !== 1) continue
    const centre = name.endsWith('weight') ? 1 : 0
    for (let index = 0; index < parameter.data.length; index++)
      parameter.data[index] = centre + (random.uniform() - 0.5) / 2
    parameter.touch()
  }
  return module
}

/** Makes it at first use: a layer that cannot be made fails its own cases only. */
export function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => (made ??= { value: make() }).value
}

/** The options of `forward` that a setting stands for. */
export function forwardOptions({ runtime, chunkSize }: Setting): { runtime: Runtime; chunkSize?: number } {
  return { runtime, ...(chunkSize === undefined ? {} : { chunkSize }) }
}

/** The tensor where the setting wants it. */
export function placed<T extends Tensor<Float32Array | Int32Array>>(setting: Setting, tensor: T): T {
  return setting.sharedInputs ? (shared(tensor) as T) : tensor
}
