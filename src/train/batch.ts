import { checkNames } from '../core/check.ts'
import { OptionError, ShapeError } from '../core/errors.ts'
import { formatShape, readTensor, type Tensor, type TensorClass } from '../core/tensor.ts'

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
 * Reads a batch once, and checks everything about it that does not depend on the model.
 *
 * @returns the batch, and the shape of its rows: [B, M] or [M]
 * @throws {OptionError} for unknown or missing names and other types
 * @throws {ShapeError} when parts of the batch do not fit each other
 */
export function readBatch(what: string, given: unknown): { readonly batch: Batch; readonly rows: readonly number[] } {
  const { tokens, input, targets, target, mask, segments, positions } = checkNames(what, given, NAMES) as Partial<
    Record<string, unknown>
  >
  if ((tokens === undefined) === (input === undefined))
    throw new OptionError(`${what}: expected either tokens or input, got ${tokens === undefined ? 'neither' : 'both'}`)
  if ((targets === undefined) === (target === undefined))
    throw new OptionError(
      `${what}: expected either targets or target, got ${targets === undefined ? 'neither' : 'both'}`,
    )
  const source =
    tokens === undefined
      ? { input: readInput(`${what}: input`, input) }
      : { tokens: readTokens(`${what}: tokens`, tokens) }
  const rows = source.tokens === undefined ? source.input.shape.slice(0, -1) : source.tokens.shape
  const perRow = <Data extends Int32Array | Uint8Array>(
    name: string,
    Class: TensorClass<Data>,
    value: unknown,
  ): Tensor<Data> => readPerRow(`${what}: ${name}`, Class, value, rows)
  const batch = {
    ...source,
    ...(targets === undefined ? {} : { targets: perRow('targets', Int32Array, targets) }),
    ...(target === undefined ? {} : { target: readTensor(`${what}: target`, Float32Array, target) }),
    ...(mask === undefined ? {} : { mask: perRow('mask', Uint8Array, mask) }),
    ...(segments === undefined ? {} : { segments: perRow('segments', Int32Array, segments) }),
    ...(positions === undefined ? {} : { positions: perRow('positions', Int32Array, positions) }),
  }
  return { batch: batch as Batch, rows }
}

function readTokens(what: string, value: unknown): Tensor<Int32Array> {
  const tensor = readTensor(what, Int32Array, value)
  if (tensor.shape.length !== 1 && tensor.shape.length !== 2)
    throw new ShapeError(`${what}: expected shape [B, M] or [M], got ${formatShape(tensor.shape)}`)
  return tensor
}

function readInput(what: string, value: unknown): Tensor {
  const tensor = readTensor(what, Float32Array, value)
  if (tensor.shape.length !== 2 && tensor.shape.length !== 3)
    throw new ShapeError(`${what}: expected shape [B, M, E] or [M, E], got ${formatShape(tensor.shape)}`)
  return tensor
}

function readPerRow<Data extends Int32Array | Uint8Array>(
  what: string,
  Class: TensorClass<Data>,
  value: unknown,
  rows: readonly number[],
): Tensor<Data> {
  const tensor = readTensor(what, Class, value)
  if (!sameShape(tensor.shape, rows))
    throw new ShapeError(
      `${what}: expected shape ${formatShape(rows)}, as the input has it, got ${formatShape(tensor.shape)}`,
    )
  return tensor
}

export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis])
}
