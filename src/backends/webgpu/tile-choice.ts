import { GPU_TILE } from '../../plan/gpu-memory.ts'
import {
  BASE_TILE,
  ownQuads,
  partialWorkgroupBytes,
  type PartialShape,
  type PartialTile,
} from './kernels/attention-partial.wgsl.ts'
import type { GpuLimits } from './probe.ts'

export const TILE_NAMES = ['base', 'wide', 'subgroups', 'wide-subgroups'] as const
export type TileName = (typeof TILE_NAMES)[number]

/** What one variant of the attention kernel took, or why it is not offered. */
export interface TileTime {
  readonly tile: TileName
  readonly milliseconds: number | null
  readonly reason?: string
}

/** The variant that a lane runs, and why. */
export interface TileChoice {
  readonly tile: TileName
  readonly reason: string
  /** empty where nothing was measured */
  readonly times: readonly TileTime[]
}

/** What of a device decides which variants it can run. */
export interface TileHost {
  readonly limits: GpuLimits
  /** invocations that are in one subgroup at the least; 0 without the feature */
  readonly smallestSubgroup: number
}

/** Head sizes past it keep the base tile: eight rows of O an invocation would not stay in registers. */
const MOST_WIDE_QUADS = 4

/** The variant for these sizes, or why the device cannot run it. */
export function offeredTile(
  name: TileName,
  { limits, smallestSubgroup }: TileHost,
  shape: Pick<PartialShape, 'score' | 'valueQuads'>,
): PartialTile | string {
  const rowsEach = name.startsWith('wide') ? 8 : 4
  const together = name.endsWith('subgroups') ? togetherOf(smallestSubgroup) : 1
  if (name.endsWith('subgroups') && together === 1) return 'the device has no subgroups of two or more'
  if (rowsEach === 8 && ownQuads(shape.valueQuads) > MOST_WIDE_QUADS) return 'the head is too wide for it'
  const bytes = partialWorkgroupBytes({ ...shape, tile: { rowsEach, together } })
  if (bytes > limits.maxComputeWorkgroupStorageSize)
    return `it needs ${bytes} bytes of workgroup memory, the device has ${limits.maxComputeWorkgroupStorageSize}`
  return { rowsEach, together }
}

/** The variant where it is offered for these sizes, else the base kernel. */
export function tileFor(
  name: TileName,
  host: TileHost,
  shape: Pick<PartialShape, 'score' | 'valueQuads'>,
): PartialTile {
  const tile = offeredTile(name, host, shape)
  return typeof tile === 'string' ? BASE_TILE : tile
}

/** Query rows of a workgroup. */
export function tileRows({ rowsEach }: PartialTile): number {
  return (GPU_TILE / 4) * rowsEach
}

/** Whatever size a subgroup then has, neighbours in an aligned group of the smallest size are together. */
function togetherOf(smallestSubgroup: number): PartialTile['together'] {
  return ([8, 4, 2] as const).find((size) => smallestSubgroup >= size) ?? 1
}
