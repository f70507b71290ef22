import { checkInteger, checkNames, checkOneOf, expected } from '../core/check.ts'
import { NumericError, OptionError, ShapeError } from '../core/errors.ts'
import { formatPlace, formatShape } from '../core/tensor.ts'
import { sameShape, type Batch } from './batch.ts'

/** What `crossEntropy` takes. */
export interface CrossEntropyOptions {
  /** The share of the target that is spread evenly over all classes. @default 0 */
  readonly labelSmoothing?: number
  /** A target with this value does not count. @default −100, as in PyTorch */
  readonly ignoreIndex?: number
}

/** A loss as plain data; made by `crossEntropy`. */
export interface CrossEntropy extends Required<CrossEntropyOptions> {
  /** tells the losses apart */
  readonly kind: 'crossEntropy'
}

/** A loss as plain data; made by `meanSquaredError`. */
export interface MeanSquaredError {
  /** tells the losses apart */
  readonly kind: 'meanSquaredError'
}

/** A loss that training can minimise. */
export type Loss = CrossEntropy | MeanSquaredError

/**
 * Mean over the counted rows of −Σ q·ln softmax(logits): q puts 1 − ε + ε/V on the target and ε/V on each other class,
 * where ε is `labelSmoothing`. The same as PyTorch's `CrossEntropyLoss`.
 *
 * @throws {OptionError} for unknown names and wrong values
 *
 * @example
 * ```js
 * import { crossEntropy } from 'heddle/train'
 *
 * const loss = crossEntropy({ labelSmoothing: 0.1 }) // for `train` and `lossAndGradients`
 * console.log(loss.ignoreIndex) // -100
 * ```
 */
export function crossEntropy(options: CrossEntropyOptions = {}): CrossEntropy {
  options = checkNames('crossEntropy: options', options, ['labelSmoothing', 'ignoreIndex'])
  const { labelSmoothing = 0, ignoreIndex = -100 } = options
  if (typeof labelSmoothing !== 'number' || !(labelSmoothing >= 0 && labelSmoothing <= 1))
    throw expected('crossEntropy: option labelSmoothing', 'a number from 0 to 1', labelSmoothing)
  checkInteger('crossEntropy: option ignoreIndex', ignoreIndex, -(2 ** 31), 2 ** 31 - 1)
  return Object.freeze({ kind: 'crossEntropy', labelSmoothing, ignoreIndex })
}

/** Mean over the elements of the counted rows of (output − target)². The same as PyTorch's `MSELoss`. */
export function meanSquaredError(): MeanSquaredError {
  return Object.freeze({ kind: 'meanSquaredError' })
}

/** @throws {OptionError} unless `loss` was made by one of the functions above */
export function checkLoss(what: string, loss: unknown): asserts loss is Loss {
  if (typeof loss !== 'object' || loss === null)
    throw expected(what, 'a loss made by crossEntropy or meanSquaredError', loss)
  checkOneOf(`${what}.kind`, (loss as Partial<Loss>).kind, ['crossEntropy', 'meanSquaredError'])
}

/**
 * Holds a batch's targets against the model's output: every target that counts must be usable.
 *
 * @param batch one that passed `checkBatch`
 * @param outputShape of the model's output, [B, M, V] or [M, V]
 * @returns how many targets count: rows for `crossEntropy`, elements for `meanSquaredError`
 * @throws {OptionError} when the batch has no targets for this loss, none of them counts, or a class is out of range
 *   (its position and value are named)
 * @throws {ShapeError} when the targets do not have the output's shape
 * @throws {NumericError} when a target that counts is NaN or infinite
 */
export function countTargets(loss: Loss, batch: Batch, outputShape: readonly number[]): number {
  const counted =
    loss.kind === 'crossEntropy' ? countClasses(loss, batch, outputShape) : countElements(batch, outputShape)
  if (counted === 0) throw new OptionError(`${loss.kind}: expected at least one target that counts, got none`)
  return counted
}

function countClasses({ ignoreIndex }: CrossEntropy, { targets, mask }: Batch, outputShape: readonly number[]): number {
  if (targets === undefined)
    throw new OptionError('crossEntropy: expected a batch with targets (Int32 classes), got target')
  const classes = outputShape.at(-1) ?? 0
  if (!sameShape(targets.shape, outputShape.slice(0, -1))) {
    throw new ShapeError(
      `crossEntropy: expected targets of shape ${formatShape(outputShape.slice(0, -1))}, got ${formatShape(targets.shape)}`,
    )
  }
  let counted = 0
  for (const [place, target] of targets.data.entries()) {
    if (target === ignoreIndex || mask?.data[place] === 0) continue
    if (target < 0 || target >= classes) {
      const where = formatPlace(place, targets.shape)
      throw new OptionError(
        `crossEntropy: expected targets from 0 to ${classes - 1}, or ${ignoreIndex} to ignore one, got ${target} at ${where}`,
        { details: { place, value: target } },
      )
    }
    counted++
  }
  return counted
}

function countElements({ target, mask }: Batch, outputShape: readonly number[]): number {
  if (target === undefined)
    throw new OptionError('meanSquaredError: expected a batch with target (float32), got targets')
  if (!sameShape(target.shape, outputShape))
    throw new ShapeError(
      `meanSquaredError: expected a target of shape ${formatShape(outputShape)}, got ${formatShape(target.shape)}`,
    )
  const width = outputShape.at(-1) ?? 0
  let counted = 0
  for (let row = 0; row * width < target.data.length; row++) {
    if (mask?.data[row] === 0) continue
    for (let place = row * width; place < (row + 1) * width; place++) {
      const value = target.data[place]
      if (!Number.isFinite(value))
        throw new NumericError(
          `meanSquaredError: expected finite targets, got ${value} at ${formatPlace(place, outputShape)}`,
          { details: { place } },
        )
    }
    counted += width
  }
  return counted
}
