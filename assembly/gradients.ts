/** The kernels of attention's gradients, over the memory of those of attention: what lanes get with the first of them. */
export { backwardTile, scoreGradientTile, transposedTile } from './backward-tile'
export { dotRows, scaleEachRow, scaleFloats } from './row-dots'
export { packPanels } from './row-outer'
