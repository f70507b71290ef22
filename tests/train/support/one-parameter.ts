import { Parameter } from 'heddle/nn'

export type Parameters = Map<string, Parameter>

/** One parameter of four elements and its gradient. */
export function oneOf(values: readonly number[] = [1, -2, 3, 0.5]): Parameters {
  const weight = new Parameter([values.length])
  weight.data.set(values)
  return new Map([['weight', weight]])
}

/** Of that parameter. */
export const gradient = (...values: number[]) =>
  new Map([['weight', { data: Float32Array.from(values), shape: [values.length] }]])

export const weights = (parameters: Parameters): number[] => Array.from(parameters.get('weight')?.data ?? [])
