import { checkNames } from '../core/check.ts'
import { OptionError, ShapeError } from '../core/errors.ts'
import { checkTensor, formatShape, type Tensor } from '../core/tensor.ts'

interface TokenInput {
  /** [B, M] or [M] */
  readonly tokens: Tensor<Int32Array>
  readonly input?: never
}

interface RowInput {
  /** [B, M, E] or [M, E] */
  readonly input: Tensor
  readonly tokens?: never
}

interface ClassTargets {
  /** [B, M] or [M]: the class of each row, for `crossEntropy` */
  readonly targets: Tensor<Int32Array>
  readonly target?: never
}

interface RowTargets {
  /** the shape of the model's output, for `meanSquaredError` */
  readonly target: Tensor
  readonly targets?: never
}

interface BatchDetails {
  /** [B, M] or [M]: a row whose entry is 0 does not count towards the loss. @default all rows count */
  readonly mask?: Tensor<Uint8Array>
  /** [B, M] or [M]: rows attend only to rows of their own segment, so that packed sequences do not see each other */
  readonly segments?: Tensor<Int32Array>
  /** [B, M] or [M]: the position of each row in its own sequence. @default 0, 1, 2, … */
  readonly positions?: Tensor<Int32Array>
}

/** What a model learns from in one go: its input, and what its output should have been. */
export type Batch = (TokenInput | RowInput) & (ClassTargets | RowTargets) & BatchDetails

const NAMES = ['tokens', 'input', 'targets', 'target', 'mask', 'segments', 'positions']

/**
 * Checks everything about a batch that does not depend on the model.
 *
 * @returns the shape of its rows: [B, M] or [M]
 * @throws {OptionError} for unknown or missing names and other types
 * @throws {ShapeError} when parts of the batch do not fit each other
 */
export function checkBatch(what: string, batch: unknown): readonly number[] {
  checkNames(what, batch, NAMES)
  const { tokens, input, targets, target, mask, segments, positions } = batch as Partial<Record<string, unknown>>
  if ((tokens === undefined) === (input === undefined)) throw new OptionError(`${what}: expected either tokens or input, got ${tokens === undefined ? 'neither' : 'both'}`)
  if ((targets === undefined) === (target === undefined)) throw new OptionError(`${what}: expected either targets or target, got ${targets === undefined ? 'neither' : 'both'}`)
  const rows = tokens === undefined ? rowsOf(`${what}: input`, input) : tokenRows(`${what}: tokens`, tokens)
  if (targets !== undefined) checkPerRow(`${what}: targets`, Int32Array, targets, rows)
  if (target !== undefined) checkTensor(`${what}: target`, Float32Array, target)
  if (mask !== undefined) checkPerRow(`${what}: mask`, Uint8Array, mask, rows)
  if (segments !== undefined) checkPerRow(`${what}: segments`, Int32Array, segments, rows)
  if (positions !== undefined) checkPerRow(`${what}: positions`, Int32Array, positions, rows)
  return rows
}

function tokenRows(what: string, value: unknown): readonly number[] {
  checkTensor(what, Int32Array, value)
  if (value.shape.length !== 1 && value.shape.length !== 2) throw new ShapeError(`${what}: expected shape [B, M] or [M], got ${formatShape(value.shape)}`)
  return value.shape
}

function rowsOf(what: string, value: unknown): readonly number[] {
  checkTensor(what, Float32Array, value)
  if (value.shape.length !== 2 && value.shape.length !== 3) throw new ShapeError(`${what}: expected shape [B, M, E] or [M, E], got ${formatShape(value.shape)}`)
  return value.shape.slice(0, -1)
}

function checkPerRow(what: string, Class: Int32ArrayConstructor | Uint8ArrayConstructor, value: unknown, rows: readonly number[]): void {
  checkTensor<Int32Array | Uint8Array>(what, Class, value)
  if (!sameShape(value.shape, rows)) throw new ShapeError(`${what}: expected shape ${formatShape(rows)}, as the input has it, got ${formatShape(value.shape)}`)
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis])
}

/** The index of element `place` of a row-major array of that shape, for messages: `[3, 7]`. */
export function formatPlace(place: number, shape: readonly number[]): string {
  const index: number[] = []
  for (const size of shape.toReversed()) {
    index.unshift(place % size)
    place = Math.floor(place / size)
  }
  return formatShape(index)
}
