/** The kernels of attention and of its gradients: what lanes start with. */
export { attendHeads } from './attend-heads'
export { attendTile } from './attend-tile'
export { backwardTile, scoreGradientTile, transposedTile } from './backward-tile'
export { finaliseGroups, hasExtremes, packKeys, packLanes, packValues, resetGroups } from './pack'
export { dotRows, scaleEachRow, scaleFloats } from './row-dots'
export { packPanels } from './row-outer'
