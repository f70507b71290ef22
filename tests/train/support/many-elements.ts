import { Parameter } from 'heddle/nn'

/** Sizes that do not end where blocks do; together just more than lanes update from (2²⁰). */
export const SHAPES = { a: [700_001], b: [3], c: [4, 100_000] } as const

export type Name = keyof typeof SHAPES

const sizeOf = (name: Name): number => SHAPES[name].reduce((product: number, size) => product * size, 1)

/** Numbers from −0.5 to 0.5, scattered over the elements. */
const scattered = (index: number, seed: number): number =>
  (Math.imul(index + 1, 2654435761 + 2 * seed) >>> 0) / 2 ** 32 - 0.5

export function manyParameters(): Map<string, Parameter> {
  return new Map(
    (Object.keys(SHAPES) as Name[]).map((name, place) => {
      const parameter = new Parameter(SHAPES[name])
      for (let index = 0; index < parameter.data.length; index++) parameter.data[index] = scattered(index, place)
      return [name, parameter]
    }),
  )
}

type Gradient = { readonly data: Float32Array; readonly shape: readonly number[] }

/** The gradients of a step, in shared memory or not. */
export function manyGradients(step: number, isShared: boolean): Map<string, Gradient> {
  return new Map(
    (Object.keys(SHAPES) as Name[]).map((name, place) => {
      const bytes = 4 * sizeOf(name)
      const data = new Float32Array(isShared ? new SharedArrayBuffer(bytes) : new ArrayBuffer(bytes))
      for (let index = 0; index < data.length; index++) data[index] = 1e-2 * scattered(index, 7 + place + 3 * step)
      return [name, { data, shape: SHAPES[name] }]
    }),
  )
}
