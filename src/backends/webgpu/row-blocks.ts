import { TILE } from './constants.ts'
import type { AttentionTask } from '../../protocol/task.ts'
import type { GpuDevice } from './gpu-device.ts'

/** Device memory that a block's partials, and a pass's mask, bias or weights, may take each. */
const WORKING_BYTES = 32 * 2 ** 20
const MOST_SLOTS = 64

/** How much of a task is on the device at a time, so that no buffer passes the device's limits. */
export interface BlockSizes {
  /** rows of a block */
  readonly rows: number
  /** partials that a block keeps before it merges them: 2 or more */
  readonly slots: number
  /** keys of a pass with a mask, a bias or weights out */
  readonly matrixKeys: number
  /** keys of a pass */
  readonly keys: number
}

/** @param multiplyAdds what a submit should hold: a block's smallest pass is one tile of keys, and must not take longer */
export function blockSizesOf(gpu: GpuDevice, task: AttentionTask, multiplyAdds = Infinity): BlockSizes {
  const { headSize, valueSize } = task.settings
  const bytes = Math.min(WORKING_BYTES, gpu.largestBufferBytes)
  const valueBytes = Math.ceil(valueSize / 4) * 16
  const queryBytes = Math.ceil(headSize / 4) * 16
  const byPartials = bytes / (4 * Math.max(valueBytes, 32))
  const fitting = Math.min(task.rows, byPartials, bytes / queryBytes, bytes / (TILE * 4), gpu.limits.maxComputeWorkgroupsPerDimension * TILE)
  const timely = Math.max(TILE, multiplyAdds / (TILE * (headSize + valueSize)))
  const rows = Math.max(1, Math.floor(Math.min(fitting, timely)))
  const slots = Math.max(2, Math.min(MOST_SLOTS, Math.floor(bytes / (rows * Math.max(valueBytes, 32)))))
  const matrixKeys = Math.max(TILE, Math.floor(bytes / (rows * 4) / TILE) * TILE)
  return { rows, slots, matrixKeys, keys: gpu.limits.maxComputeWorkgroupsPerDimension * TILE }
}
