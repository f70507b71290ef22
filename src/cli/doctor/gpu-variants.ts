import { GpuDevice } from '../../backends/webgpu/gpu-device.ts'
import { chooseTile } from '../../backends/webgpu/measure-tiles.ts'
import type { GpuLimits } from '../../backends/webgpu/probe.ts'
import type { TileChoice } from '../../backends/webgpu/tile-choice.ts'
import { formatBytes } from '../../plan/explain.ts'
import type { Terminal } from '../terminal/terminal.ts'

/**
 * What a GPU lane would run on this machine's adapter, and what each variant of the attention kernel takes there. On a
 * software adapter, where a lane keeps the base kernel, no variant is measured: to compile them takes some 20 seconds.
 */
export interface GpuFindings {
  readonly adapter: string
  readonly software: boolean
  readonly limits: GpuLimits
  readonly features: readonly string[]
  /** invocations that are in one subgroup at the least; 0 without subgroups */
  readonly smallestSubgroup: number
  readonly choice: TileChoice
}

/** Looks at the adapter, and measures, on a device of its own. */
export async function findGpuVariants(): Promise<GpuFindings> {
  const gpu = await GpuDevice.open(undefined)
  try {
    const choice = await chooseTile(gpu)
    const { name: adapter, fallback: software, limits, smallestSubgroup } = gpu
    return { adapter, software, limits, features: gpu.info.features, smallestSubgroup, choice }
  } finally {
    gpu.dispose()
  }
}

export function printGpu(
  terminal: Terminal,
  { adapter, software, limits, features, smallestSubgroup, choice }: GpuFindings,
): void {
  terminal.heading('GPU adapter')
  terminal.line(`  ${adapter}${software ? ' (software)' : ''}`)
  terminal.line(
    `  buffers of up to ${formatBytes(limits.maxBufferSize)}, ${formatBytes(limits.maxStorageBufferBindingSize)} bound at once; workgroups of ${formatBytes(limits.maxComputeWorkgroupStorageSize)} and ${limits.maxComputeInvocationsPerWorkgroup} invocations`,
  )
  terminal.line(
    `  features: ${features.length === 0 ? 'none' : [...features].sort().join(', ')}${smallestSubgroup === 0 ? '' : `; subgroups of ${smallestSubgroup} or more`}`,
  )
  terminal.heading('Attention kernels of a GPU lane')
  for (const { tile, milliseconds, reason } of choice.times) {
    terminal.line(
      `  ${tile === choice.tile ? '→' : ' '} ${tile.padEnd(14)} ${milliseconds === null ? `not offered: ${reason}` : `${milliseconds.toPrecision(3)} ms`}`,
    )
  }
  terminal.line(`  a lane runs ${choice.tile}: ${choice.reason}`)
}
