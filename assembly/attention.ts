/** The kernels of attention: what lanes start with. */
export { attendHeads } from './attend-heads'
export { attendTile } from './attend-tile'
export { finaliseGroups, hasExtremes, packKeys, packLanes, packValues, resetGroups } from './pack'
