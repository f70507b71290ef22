export { attendTile } from './attend-tile'
export { finaliseGroups, hasExtremes, packLanes, resetGroups } from './pack'
