import { roundUp } from '../../core/integers.ts'
import { attentionArenaBytes } from '../../plan/arena.ts'
import { ASSUMED_GPU, GPU_OVERLAP, gpuAttentionBytes, gpuBufferBytes, gpuCacheBytes, gpuRowBytes, type GpuFacts } from '../../plan/gpu-memory.ts'
import { wasmLaneBytes, type PlannedLane } from '../../plan/lane-bytes.ts'
import { distinctWeights } from './stage-binder.ts'
import type { Stage } from './stage-builder.ts'
import type { StageAttention } from './stage-attention.ts'

/**
 * What lanes hold for themselves while they run these stages. Of a wasm lane that is exact: its arena. Of a GPU lane it is a
 * bound: a block has as many rows as time allows, and it is counted as if no two steps shared a buffer.
 *
 * @param stageBytes a wasm lane's registers and weights
 */
export function stageLaneBytes(stages: readonly Stage[], lanes: readonly PlannedLane[], chunkRows: number, stageBytes: number): number {
  const attention = stages.reduce((largest, { attention: head }) => (head === null ? largest : Math.max(largest, attentionArenaBytes(head.query.headSize, head.value.headSize))), 0)
  return lanes.reduce((sum, lane) => {
    const { kind, residentBytes, facts = ASSUMED_GPU } = lane
    if (kind === 'wasm') return sum + wasmLaneBytes(lane, attention + stageBytes)
    return sum + residentBytes + deviceWeightBytes(stages) + Math.max(0, ...stages.map((stage) => deviceBytes(stage, facts, chunkRows)))
  }, 0)
}

/** Distinct weights as a device keeps them: rows padded to vectors of four. */
function deviceWeightBytes(stages: readonly Stage[]): number {
  return distinctWeights(stages.flatMap((stage) => stage.weights)).reduce((sum, { outSize, inSize }) => sum + gpuBufferBytes(inSize === 1 ? gpuRowBytes(outSize) : outSize * gpuRowBytes(inSize)), 0)
}

/** Registers, each step's output and what is read back of a chunk's rows; its attention. */
function deviceBytes(stage: Stage, facts: GpuFacts, chunkRows: number): number {
  const rows = Math.min(chunkRows, stage.rows)
  const written = stage.writes.map(({ buffer }) => (buffer.kind === 'rows' ? buffer.width : buffer.heads * buffer.headSize))
  const outputs = stage.weights.map(({ outSize }) => outSize)
  // Registers twice: loads, and the tables of rotary positions beside them.
  const widths = [...stage.registers, ...stage.registers, ...outputs, ...written]
  const steps = widths.reduce((sum, width) => sum + gpuBufferBytes(rows * gpuRowBytes(width) + 64), 0)
  return steps + (stage.attention === null ? 0 : attentionBytes(stage, stage.attention, facts, rows))
}

function attentionBytes(stage: Stage, { key, value, keys, options }: StageAttention, facts: GpuFacts, chunkRows: number): number {
  const rows = roundUp(chunkRows, 64) // a shorter last chunk may keep somewhat more partials
  const sizes = { rows, keys, headSize: key.headSize, valueSize: value.headSize }
  const cachedHeads = stage.batch * key.heads
  const matrices = [options.mask, options.bias].flatMap((part) => (part === null ? [] : [{ elementBytes: part.data.BYTES_PER_ELEMENT, perRow: true }]))
  const call = { ...sizes, cachedHeads, overlap: GPU_OVERLAP, matrices, segments: options.segments !== null, weightRows: 0 }
  return gpuAttentionBytes(facts, call, { cacheBytes: gpuCacheBytes(facts, sizes, cachedHeads), lean: false })
}
