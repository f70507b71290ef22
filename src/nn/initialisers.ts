import { checkFloat32 } from '../core/check.ts'
import { exactLog } from '../core/elementary.ts'
import { ShapeError } from '../core/errors.ts'
import { formatShape } from '../core/tensor.ts'
import type { Parameter } from '../program/parameter.ts'
import { seedWords, UniformStream, type Seed } from '../core/seed.ts'
import { exactCos } from '../core/sine.ts'

/** How a weight matrix is drawn. */
export type WeightInitialisation = 'xavier-uniform' | 'xavier-normal' | 'he-uniform' | 'he-normal'

/** The names of `WeightInitialisation`, for checks. */
export const WEIGHT_INITIALISATIONS: readonly WeightInitialisation[] = [
  'xavier-uniform',
  'xavier-normal',
  'he-uniform',
  'he-normal',
]

/**
 * A part of a parameter: rows [rowStart, rowStart + rows), as where query, key and value weights stand in one matrix.
 */
export interface RowRange {
  /** the first row */
  readonly rowStart: number
  /** how many rows */
  readonly rows: number
}

/**
 * U(−a, a), a = gain·√(6 / (fanIn + fanOut)). Glorot and Bengio 2010, eq. 16.
 *
 * @param parameter [out, in]; its elements change
 * @param seed decides about every element
 * @param gain factor of the spread
 * @param range the rows to draw; fanOut counts these alone. By default all of them
 */
export function xavierUniform(parameter: Parameter, seed: Seed, gain = 1, range?: RowRange): void {
  const { fanIn, fanOut } = fans(parameter, range)
  drawUniform(parameter, seed, gain * Math.sqrt(6 / (fanIn + fanOut)), range)
}

/**
 * N(0, σ²), σ = gain·√(2 / (fanIn + fanOut)). Glorot and Bengio 2010.
 *
 * @param parameter [out, in]; its elements change
 * @param seed decides about every element
 * @param gain factor of the spread
 * @param range the rows to draw; fanOut counts these alone. By default all of them
 */
export function xavierNormal(parameter: Parameter, seed: Seed, gain = 1, range?: RowRange): void {
  const { fanIn, fanOut } = fans(parameter, range)
  drawNormal(parameter, seed, gain * Math.sqrt(2 / (fanIn + fanOut)), range)
}

/**
 * U(−a, a), a = gain·√(3 / fanIn); gain √2 suits ReLU. He et al. 2015.
 *
 * @param parameter [out, in]; its elements change
 * @param seed decides about every element
 * @param gain factor of the spread
 * @param range the rows to draw. By default all of them
 */
export function heUniform(parameter: Parameter, seed: Seed, gain = Math.SQRT2, range?: RowRange): void {
  drawUniform(parameter, seed, gain * Math.sqrt(3 / fans(parameter, range).fanIn), range)
}

/**
 * N(0, σ²), σ = gain/√fanIn; gain √2 suits ReLU. He et al. 2015.
 *
 * @param parameter [out, in]; its elements change
 * @param seed decides about every element
 * @param gain factor of the spread
 * @param range the rows to draw. By default all of them
 */
export function heNormal(parameter: Parameter, seed: Seed, gain = Math.SQRT2, range?: RowRange): void {
  drawNormal(parameter, seed, gain / Math.sqrt(fans(parameter, range).fanIn), range)
}

/**
 * N(mean, deviation²).
 *
 * @param parameter of any shape; its elements change
 * @param seed decides about every element
 * @param mean of the elements
 * @param deviation their standard deviation
 */
export function normal(parameter: Parameter, seed: Seed, mean = 0, deviation = 1): void {
  drawNormal(parameter, seed, deviation, undefined, mean)
}

/**
 * Every element becomes `value`.
 *
 * @param parameter of any shape; its elements change
 * @param value of every element
 */
export function constant(parameter: Parameter, value: number): void {
  checkFloat32('constant: value', value)
  parameter.data.fill(value)
  parameter.touch()
}

/** Draws a weight matrix by the rule of that name. */
export function initialise(parameter: Parameter, rule: WeightInitialisation, seed: Seed, range?: RowRange): void {
  const draw = {
    'xavier-uniform': xavierUniform,
    'xavier-normal': xavierNormal,
    'he-uniform': heUniform,
    'he-normal': heNormal,
  }[rule]
  draw(parameter, seed, undefined, range)
}

/** @throws {ShapeError} unless the parameter is a matrix [fanOut, fanIn] */
function fans(parameter: Parameter, range?: RowRange): { fanIn: number; fanOut: number } {
  const [rows, fanIn] = parameter.shape
  if (rows === undefined || fanIn === undefined || parameter.shape.length !== 2) {
    throw new ShapeError(`initialiser: expected a matrix [out, in], got ${formatShape(parameter.shape)}`)
  }
  return { fanIn, fanOut: range?.rows ?? rows }
}

function elementsOf(parameter: Parameter, range?: RowRange): Float32Array {
  const columns = parameter.shape[1] ?? 1
  return range === undefined
    ? parameter.data
    : parameter.data.subarray(range.rowStart * columns, (range.rowStart + range.rows) * columns)
}

function drawUniform(parameter: Parameter, seed: Seed, bound: number, range?: RowRange): void {
  const stream = new UniformStream(seedWords('initialiser: seed', seed))
  const elements = elementsOf(parameter, range)
  for (let index = 0; index < elements.length; index++) elements[index] = (2 * stream.next() - 1) * bound
  parameter.touch()
}

function drawNormal(parameter: Parameter, seed: Seed, deviation: number, range?: RowRange, mean = 0): void {
  const stream = new UniformStream(seedWords('initialiser: seed', seed))
  const elements = elementsOf(parameter, range)
  for (let index = 0; index < elements.length; index++) {
    // Box and Muller; 1 − u is never 0.
    const radius = Math.sqrt(-2 * exactLog(1 - stream.next()))
    elements[index] = mean + deviation * radius * exactCos(2 * Math.PI * stream.next())
  }
  parameter.touch()
}
