import {
  ACTIVATION_GELU,
  ACTIVATION_GELU_TANH,
  ACTIVATION_RELU,
  ACTIVATION_SILU,
  ACTIVATION_TANH,
} from '../../../assembly/abi.ts'
import { STAGE_TILE_ROWS } from '../../plan/stage-arena.ts'
import type { RowStep } from '../../protocol/stage.ts'
import { maxRowsBackwardTile, maxRowsTile } from './largest-tiles.ts'
import {
  addressOf,
  dropTile,
  embedTile,
  factorsAt,
  loadHeadsTile,
  loadTile,
  rotateTile,
  storeHeadsTile,
  storeSlabTile,
  storeTile,
  sumColumnsTile,
  targetsAt,
  widthOf,
  type Tile,
} from './stage-tiles.ts'

const ACTIVATIONS = {
  relu: ACTIVATION_RELU,
  gelu: ACTIVATION_GELU,
  'gelu-tanh': ACTIVATION_GELU_TANH,
  silu: ACTIVATION_SILU,
  tanh: ACTIVATION_TANH,
} as const

type StepOf<Op extends RowStep['op']> = Extract<RowStep, { op: Op }>

/** What each step does to a tile. A step without an entry does not compile. */
const STEPS: { readonly [Op in RowStep['op']]: (step: StepOf<Op>, tile: Tile) => void } = {
  load: loadTile,
  'load-heads': loadHeadsTile,
  embed: embedTile,
  linear({ from, to, weight, bias }, tile) {
    const [inSize, outSize] =
      weight.transposed === true ? [weight.outSize, weight.inSize] : [weight.inSize, weight.outSize]
    const biasAddress = bias === null ? 0 : tile.addressOf(bias)
    tile.kernels.linearRows(
      addressOf(tile, from),
      tile.rows,
      inSize,
      tile.addressOf(weight),
      biasAddress,
      addressOf(tile, to),
      outSize,
      tile.scratch,
    )
  },
  norm({ from, to, weight, bias, epsilon }, tile) {
    tile.kernels.normRows(
      addressOf(tile, from),
      tile.rows,
      weight.outSize,
      tile.addressOf(weight),
      bias === null ? 0 : tile.addressOf(bias),
      epsilon,
      addressOf(tile, to),
    )
  },
  normalise({ from, to, epsilon }, tile) {
    tile.kernels.normaliseRows(addressOf(tile, from), tile.rows, widthOf(tile, from), epsilon, addressOf(tile, to))
  },
  'norm-backward'({ x, dy, to, weight, epsilon }, tile) {
    tile.kernels.normBackwardRows(
      addressOf(tile, x),
      addressOf(tile, dy),
      tile.rows,
      weight.outSize,
      tile.addressOf(weight),
      epsilon,
      addressOf(tile, to),
    )
  },
  'rms-norm'({ from, to, weight, epsilon }, tile) {
    tile.kernels.rmsNormRows(
      addressOf(tile, from),
      tile.rows,
      weight.outSize,
      tile.addressOf(weight),
      epsilon,
      addressOf(tile, to),
    )
  },
  'rms-norm-heads'({ from, to, headSize, weight, epsilon }, tile) {
    const weightAddress = weight === null ? 0 : tile.addressOf(weight)
    tile.kernels.rmsNormRows(
      addressOf(tile, from),
      elements(tile, from) / headSize,
      headSize,
      weightAddress,
      epsilon,
      addressOf(tile, to),
    )
  },
  'rms-normalise'({ from, to, epsilon }, tile) {
    tile.kernels.rmsNormaliseRows(addressOf(tile, from), tile.rows, widthOf(tile, from), epsilon, addressOf(tile, to))
  },
  'rms-norm-backward'({ x, dy, to, weight, epsilon }, tile) {
    // Rows, or the heads of rows: one weight serves them all.
    tile.kernels.rmsNormBackwardRows(
      addressOf(tile, x),
      addressOf(tile, dy),
      elements(tile, x) / weight.outSize,
      weight.outSize,
      tile.addressOf(weight),
      epsilon,
      addressOf(tile, to),
    )
  },
  fold: ({ from, to, groups }, tile) =>
    tile.kernels.foldRows(addressOf(tile, from), tile.rows, groups, widthOf(tile, to), addressOf(tile, to)),
  copy({ from, to }, tile) {
    const start = addressOf(tile, from) >> 2
    tile.floats.copyWithin(addressOf(tile, to) >> 2, start, start + elements(tile, from))
  },
  add: ({ from, to }, tile) => tile.kernels.addRows(addressOf(tile, from), elements(tile, from), addressOf(tile, to)),
  subtract: ({ from, to }, tile) =>
    tile.kernels.subtractRows(addressOf(tile, from), elements(tile, from), addressOf(tile, to)),
  multiply: ({ from, to }, tile) =>
    tile.kernels.multiplyRows(addressOf(tile, from), elements(tile, from), addressOf(tile, to)),
  scale: ({ register, factor }, tile) =>
    tile.kernels.scaleRows(addressOf(tile, register), elements(tile, register), factor),
  activate: ({ register, activation }, tile) =>
    tile.kernels.activateRows(addressOf(tile, register), elements(tile, register), ACTIVATIONS[activation]),
  'activate-backward'({ x, dy, activation }, tile) {
    tile.kernels.activateBackwardRows(
      addressOf(tile, x),
      elements(tile, x),
      ACTIVATIONS[activation],
      addressOf(tile, dy),
    )
  },
  drop: dropTile,
  rotate: rotateTile,
  'max-rows': maxRowsTile,
  'max-rows-backward': maxRowsBackwardTile,
  store: storeTile,
  'store-heads': storeHeadsTile,
  'store-slab': storeSlabTile,
  'sum-columns': (step, tile) => sumColumnsTile(step, tile, STAGE_TILE_ROWS),
  'cross-entropy'({ logits, targets, loss, logSumExp, rule: { ignoreIndex, smoothing } }, tile) {
    tile.kernels.crossEntropyRows(
      addressOf(tile, logits),
      tile.rows,
      widthOf(tile, logits),
      targetsAt(targets, tile),
      ignoreIndex,
      smoothing,
      addressOf(tile, loss),
      addressOf(tile, logSumExp),
    )
  },
  'cross-entropy-backward'({ logits, targets, logSumExp, factor, rule: { ignoreIndex, smoothing } }, tile) {
    const [targetAddress, factors] = [targetsAt(targets, tile), factorsAt(factor, tile)]
    tile.kernels.crossEntropyBackwardRows(
      addressOf(tile, logits),
      tile.rows,
      widthOf(tile, logits),
      targetAddress,
      ignoreIndex,
      smoothing,
      addressOf(tile, logSumExp),
      factors,
    )
  },
  'squared-error': ({ x, y, to }, tile) =>
    tile.kernels.squaredErrorRows(
      addressOf(tile, x),
      addressOf(tile, y),
      tile.rows,
      widthOf(tile, x),
      addressOf(tile, to),
    ),
}

export function runStep<Op extends RowStep['op']>(step: StepOf<Op>, tile: Tile): void {
  const run = STEPS[step.op] as (step: StepOf<Op>, tile: Tile) => void
  run(step, tile)
}

/** Elements of the tile's rows of a register. */
function elements(tile: Tile, register: number): number {
  return tile.rows * widthOf(tile, register)
}
