import { gpuBlockSizes, type GpuBlockSizes } from '../../plan/gpu-memory.ts'
import type { AttentionTask } from '../../protocol/task.ts'
import type { GpuDevice } from './gpu-device.ts'

/**
 * The task's blocks, as the plan counted them: those of a full chunk, so that a shorter one works in the same buffers.
 */
export function blockSizesOf(gpu: GpuDevice, { rows, settings, device }: AttentionTask): GpuBlockSizes {
  return gpuBlockSizes(gpu.facts, { ...settings, rows: device?.rows ?? rows }, device?.lean)
}
