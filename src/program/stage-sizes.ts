import { roundUp } from '../core/integers.ts'
import { attentionArenaBytes, startingArenaBytes } from '../plan/arena.ts'
import { backwardArenaBytes } from '../plan/backward-arena.ts'
import {
  ASSUMED_GPU,
  GPU_OVERLAP,
  gpuAttentionBytes,
  gpuBufferBytes,
  gpuCacheBytes,
  gpuRowBytes,
  type GpuFacts,
} from '../plan/gpu-memory.ts'
import { wasmLaneBytes, type PlannedLane } from '../plan/lane-bytes.ts'
import { registerBytes, residentWeightBytes, STAGE_TILE_ROWS } from '../plan/stage-arena.ts'
import type { Chunk } from '../protocol/chunk.ts'
import { isWasmStep } from '../protocol/wasm-steps.ts'
import { distinctWeights, type Operation, type Value, type WeightView } from './operation.ts'
import { attendFlops } from './operations/attend.ts'
import { attendBackwardFlops } from './operations/attend-backward.ts'
import { isRowStage, type RowStage, type Stage } from './stage.ts'

/** Work and bytes of stages, by arithmetic alone. */

/** Work of one chunk, without sums; multiply-adds count as two. */
export function chunkFlops({ flopsPerRow, attend }: RowStage, chunk: Chunk): number {
  return flopsPerRow * chunk.rows + (attend === null ? 0 : attendFlops(attend, chunk))
}

/** Work of a whole stage. */
export function stageFlops(stage: Stage): number {
  if (stage.kind === 'attention-backward') return attendBackwardFlops(stage.operation)
  const total = stage.batch * stage.rows
  if (stage.kind === 'table') return 2 * total * (stage.reads[0] as Value).width
  const sums = (stage.slab?.sums ?? []).reduce(
    (sum, { kind, weight }) => sum + (kind === 'outer' ? 2 * weight.outSize * weight.inSize : 0),
    0,
  )
  return chunkFlops(stage, { batch: 0, rowStart: 0, rows: total }) + sums * total
}

/** Bytes that travel for each row of a chunk, to the lane and back, where memory is not shared. */
export function transferredRowBytes(stage: RowStage): number {
  const [, key, value] = stage.attend?.inputs ?? []
  const loaded = (each: Value): boolean => stage.items.some((item) => item.kind === 'load' && item.value === each)
  const byRows = (each: Value): boolean => !stage.wholeReads.includes(each) || loaded(each)
  const rowsIn = stage.reads.filter((each) => each !== key && each !== value && byRows(each))
  return [...rowsIn, ...stage.writes.map(({ to }) => to)].reduce(
    (sum, { width }) => sum + width * 4,
    stage.attend === null ? 0 : optionRowBytes(stage.attend),
  )
}

/**
 * Bytes of mask, bias and segments that travel with each row of a chunk, for every head, where memory is not shared.
 */
function optionRowBytes({
  attributes: {
    options: { mask, bias, segments },
    heads,
    keys,
  },
  inputs: [query],
}: Operation<'attend'>): number {
  const overScores = [mask, bias].reduce((sum, part) => {
    if (part === null || (part.strides.row === 0 && (query as Value).rows > 1)) return sum
    return sum + (part.strides.column === 0 ? 1 : keys) * part.data.BYTES_PER_ELEMENT
  }, 0)
  return heads * (overScores + (segments === null ? 0 : 4))
}

/** Bytes of one lane's copies of what every row of a batch needs, where memory is not shared. */
export function batchCopyBytes({ attend, wholeReads }: RowStage): number {
  const whole = wholeReads.reduce((sum, { rows, width }) => sum + rows * width * 4, 0)
  return whole + (attend === null ? 0 : keyCopyBytes(attend))
}

/** Of attention: keys, values and their segments. */
function keyCopyBytes({ attributes }: Operation<'attend'>): number {
  const { options, keyHeads, keys, headSize, valueSize } = attributes
  return keyHeads * keys * (headSize + valueSize) * 4 + (options.segments === null ? 0 : keys * 4)
}

/** Registers of a tile, attention's output of a chunk, and what steps need beside them. */
export function rowBufferBytes({ registers, attend, batch, rows, scratchPerRow }: RowStage, chunkRows: number): number {
  const context =
    attend === null ? 0 : registerBytes([(attend.outputs[0] as Value).width], Math.min(chunkRows, batch * rows))
  return registerBytes(registers) + context + roundUp(STAGE_TILE_ROWS * scratchPerRow * 4, 16) + SCRATCH_END_BYTES
}

/** Behind the products of a linear layer stand their maxima. */
const SCRATCH_END_BYTES = 32

/** Distinct weights of these stages, packed. */
export function packedWeightBytes(stages: readonly Stage[]): number {
  return weightsOf(stages).reduce(
    (sum, { outSize, inSize, transposed }) =>
      sum + residentWeightBytes(transposed === true ? { outSize: inSize, inSize: outSize } : { outSize, inSize }),
    0,
  )
}

function weightsOf(stages: readonly Stage[]): WeightView[] {
  return distinctWeights(stages.filter(isRowStage).flatMap((stage) => stage.weights))
}

/** Parameters of these stages, each once. */
export function rawWeightBytes(stages: readonly Stage[]): number {
  const parameters = new Set(
    stages
      .filter(isRowStage)
      .flatMap(({ weights, tables }) => [...weights.map(({ parameter }) => parameter), ...tables]),
  )
  return [...parameters].reduce((total, parameter) => total + parameter.data.byteLength, 0)
}

/**
 * What a lane holds for itself while it runs these stages. Of a wasm lane that is exact: its arena. Of a GPU lane it is
 * a bound: a block has as many rows as time allows, and it is counted as if no two steps shared a buffer; what its wasm
 * needs for stages without kernels comes on top.
 *
 * @param stageBytes registers and weights on wasm
 */
export function stageLaneBytes(
  { stages, graph }: { readonly stages: readonly Stage[]; readonly graph: { readonly forGradients: boolean } },
  lane: PlannedLane,
  chunkRows: number,
  stageBytes: number,
): number {
  const { kind, residentBytes, facts = ASSUMED_GPU } = lane
  const onDevice = kind === 'wasm' || graph.forGradients ? [] : stages.filter(isRowStage).filter(hasKernels)
  const onWasm = stages.filter((stage) => !onDevice.includes(stage as RowStage))
  const attention = onWasm.reduce((largest, stage) => Math.max(largest, attentionBytes(stage)), 0)
  if (kind === 'wasm') return wasmLaneBytes(lane, { attention, stages: stageBytes })
  const wasmBytes = onWasm.length === 0 ? 0 : attention + Math.max(0, stageBytes - (lane.stageBytes ?? 0))
  return (
    residentBytes +
    wasmBytes +
    deviceWeightBytes(onDevice) +
    Math.max(0, ...onDevice.map((stage) => deviceBytes(stage, facts, chunkRows)))
  )
}

/** Whether a GPU lane's device can do all of a stage. */
function hasKernels({ items }: RowStage): boolean {
  return items.every((item) => {
    if (item.kind === 'operation') return !isWasmStep(item.operation.kind)
    return item.kind === 'store' || item.value.layout !== 'heads'
  })
}

/** The memory that attention has for itself, in a lane of which stages have another. */
function attentionBytes(stage: Stage): number {
  if (stage.kind === 'attention-backward')
    return backwardArenaBytes(stage.operation.attributes.forward.headSize, stage.operation.attributes.forward.valueSize)
  if (stage.kind === 'table' || stage.attend === null) return startingArenaBytes()
  return attentionArenaBytes(stage.attend.attributes.headSize, stage.attend.attributes.valueSize)
}

/** Distinct weights as a device keeps them: rows padded to vectors of four. */
function deviceWeightBytes(stages: readonly Stage[]): number {
  return weightsOf(stages).reduce(
    (sum, { outSize, inSize }) =>
      sum + gpuBufferBytes(inSize === 1 ? gpuRowBytes(outSize) : outSize * gpuRowBytes(inSize)),
    0,
  )
}

/** Registers, each step's output and what is read back of a chunk's rows; its attention. */
function deviceBytes(stage: RowStage, facts: GpuFacts, chunkRows: number): number {
  const rows = Math.min(chunkRows, stage.rows)
  const written = stage.writes.map(({ to }) => to.width)
  const outputs = stage.weights.map(({ outSize }) => outSize)
  // Registers twice: loads, and the tables of rotary positions beside them.
  const widths = [...stage.registers, ...stage.registers, ...outputs, ...written]
  const steps = widths.reduce((sum, width) => sum + gpuBufferBytes(rows * gpuRowBytes(width) + 64), 0)
  return steps + (stage.attend === null ? 0 : deviceAttentionBytes(stage.attend, stage.batch, facts, rows))
}

function deviceAttentionBytes(
  { attributes: { options, keys, keyHeads, headSize, valueSize } }: Operation<'attend'>,
  batch: number,
  facts: GpuFacts,
  chunkRows: number,
): number {
  const rows = roundUp(chunkRows, 64) // a shorter last chunk may keep somewhat more partials
  const sizes = { rows, keys, headSize, valueSize }
  const cachedHeads = batch * keyHeads
  const matrices = [options.mask, options.bias].flatMap((part) =>
    part === null ? [] : [{ elementBytes: part.data.BYTES_PER_ELEMENT, perRow: true }],
  )
  const call = {
    ...sizes,
    cachedHeads,
    overlap: GPU_OVERLAP,
    matrices,
    segments: options.segments !== null,
    weightRows: options.weights === 'none' ? 0 : rows,
  }
  return gpuAttentionBytes(facts, call, { cacheBytes: gpuCacheBytes(facts, sizes, cachedHeads), lean: false })
}

/** Chunks of a stage with sums are whole tiles. */
export function stageChunkRowsOf({ slab }: RowStage, chunkRows: number): number {
  return slab === null ? chunkRows : roundUp(chunkRows, STAGE_TILE_ROWS)
}

/** Work of a stage's largest chunk, the first or the last: how long others wait for a lane at most. */
export function largestChunkFlops(stage: Stage, chunkRows: number): number {
  if (stage.kind !== 'rows') return stageFlops(stage) / Math.max(1, stage.batch)
  const total = stage.batch * stage.rows
  const rows = Math.min(total, stageChunkRowsOf(stage, chunkRows))
  const at = (start: number): number =>
    chunkFlops(stage, {
      batch: Math.floor(start / Math.max(1, stage.rows)),
      rowStart: start % Math.max(1, stage.rows),
      rows,
    })
  return Math.max(at(0), at(total - rows))
}
