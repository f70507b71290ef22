import { attentionArenaBytes } from './arena.ts'
import type { AttentionSizes } from './attention-sizes.ts'
import {
  ASSUMED_GPU,
  gpuAttentionBytes,
  gpuCacheBytes,
  type GpuAllowance,
  type GpuCall,
  type GpuFacts,
} from './gpu-memory.ts'

/** A lane of the pool as a plan sees it. */
export interface PlannedLane {
  readonly kind: 'wasm' | 'webgpu'
  /** what it holds before the call */
  readonly residentBytes: number
  /** the part of it that is its second bench's, where tasks run in turns with those of other calls. @default 0 */
  readonly besideBytes?: number
  /** the parts of both, and of the second bench's, that are a memory of its own for stages. @default 0 */
  readonly stageBytes?: number
  readonly besideStageBytes?: number
  /** whether the call may use both benches. @default false */
  readonly mayRunBeside?: boolean
  /** copies of weights that stay with it, where memory is not shared */
  readonly lastingBytes?: number
  /** of a GPU lane that has started: its device */
  readonly facts?: GpuFacts | undefined
}

/** Mask, bias and segments, as a GPU lane uploads their part of each pass. */
export type ScoreInputs = Pick<GpuCall, 'matrices' | 'segments'>

/** What a candidate plan asks of each lane. */
export interface LaneDemand extends ScoreInputs {
  readonly sizes: AttentionSizes
  readonly chunkRows: number
  /** heads whose keys and values stay with a lane while it works */
  readonly cachedHeads: number
  readonly overlap: number
  readonly weightRows: number
  /** lanes that take part at once, at most */
  readonly lanes: number
}

/**
 * What each GPU lane may take for the call; null where there is no GPU lane. Lean: one head, and no splits over the
 * keys.
 */
export function gpuAllowance(
  lanes: readonly PlannedLane[],
  { sizes, chunkRows, cachedHeads }: Pick<LaneDemand, 'sizes' | 'chunkRows' | 'cachedHeads'>,
  lean: boolean,
): GpuAllowance | null {
  const gpu = lanes.filter(({ kind }) => kind === 'webgpu')
  if (gpu.length === 0) return null
  const cacheBytes = Math.max(
    ...gpu.map(({ facts = ASSUMED_GPU }) =>
      gpuCacheBytes(facts, { ...sizes, rows: chunkRows }, lean ? 1 : cachedHeads),
    ),
  )
  return { cacheBytes, lean }
}

/** What a call needs of a wasm lane: an arena for attention, and a memory of its own for stages. */
export interface WasmDemand {
  readonly attention: number
  /** @default 0 */
  readonly stages?: number
}

/**
 * What a wasm lane holds for itself during such a call: it starts with a small arena, and neither memory ever shrinks.
 */
export function wasmLaneBytes(
  { residentBytes, besideBytes = 0, stageBytes = 0, besideStageBytes = 0, mayRunBeside = false }: PlannedLane,
  demand: WasmDemand,
): number {
  const attention = Math.max(demand.attention, attentionArenaBytes(1, 1))
  const grown = (held: number, ofStages: number): number =>
    Math.max(held - ofStages, attention) + Math.max(ofStages, demand.stages ?? 0)
  return (
    grown(residentBytes - besideBytes, stageBytes - besideStageBytes) +
    (mayRunBeside ? grown(besideBytes, besideStageBytes) : besideBytes)
  )
}

export function mayRunBeside(lanes: readonly PlannedLane[]): boolean {
  return lanes.some((lane) => lane.mayRunBeside === true)
}

/** Lanes for a call that uses the first bench alone. */
export function withoutBeside(lanes: readonly PlannedLane[]): PlannedLane[] {
  return lanes.map((lane) => ({ ...lane, mayRunBeside: false }))
}

/**
 * What lanes hold for themselves. A wasm lane: its arena. A GPU lane: its device buffers; the wasm arena that it makes
 * when it must hand a task over is not counted before it is there.
 */
export function laneBytes(lanes: readonly PlannedLane[], demand: LaneDemand, allowance: GpuAllowance | null): number {
  const { headSize, valueSize, keys } = demand.sizes
  const arena = attentionArenaBytes(headSize, valueSize)
  const call = { ...demand, rows: demand.chunkRows, keys, headSize, valueSize }
  const device = lanes.flatMap(({ kind, facts = ASSUMED_GPU }) =>
    kind === 'webgpu' && allowance !== null ? [gpuAttentionBytes(facts, call, allowance)] : [],
  )
  const taking = device.sort((a, b) => b - a).slice(0, demand.lanes)
  const held = lanes.reduce(
    (sum, lane) => sum + (lane.kind === 'wasm' ? wasmLaneBytes(lane, { attention: arena }) : lane.residentBytes),
    0,
  )
  return held + taking.reduce((sum, bytes) => sum + bytes, 0)
}
