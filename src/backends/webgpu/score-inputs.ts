import { roundUp } from '../../core/integers.ts'
import type { AttentionTask, Slice } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'
import { USAGE } from './constants.ts'
import { largestBias } from './finite.ts'
import type { ScratchPool } from './block-scratch.ts'
import type { GpuDevice } from './gpu-device.ts'
import type { KeyValueCache, Resident } from './key-value-cache.ts'
import { relativePositions, type KeyRange } from './key-range.ts'
import { scoreParams, type ScoreShape } from './kernels/score-tile.wgsl.ts'
import { packRows, type RowSet } from './pack-rows.ts'
import { NonFiniteInput } from './signals.ts'
import type { TileName } from './tile-choice.ts'

/** What every step of one task works with. */
export interface TaskResources {
  readonly gpu: GpuDevice
  readonly cache: KeyValueCache
  readonly scratch: ScratchPool
  /** the variant of the attention kernel, where it is offered for the task's sizes */
  readonly tile: TileName
  readonly task: AttentionTask
  readonly context: TaskContext
}

/** Keys [start, end) of the bound segment, which begins at key `segmentStart` of the call. */
export interface Pass extends KeyRange {
  readonly segmentStart: number
  readonly segmentKeys: number
}

export function scoreShapeOf(task: AttentionTask, halfKeys = false): ScoreShape {
  return {
    headQuads: Math.ceil(task.settings.headSize / 4),
    mask: task.mask !== undefined,
    bias: task.bias !== undefined,
    segments: task.querySegments !== undefined && task.keySegments !== undefined,
    softcap: task.settings.softcap > 0,
    alibi: task.alibiSlope !== 0,
    halfKeys,
  }
}

/** Query rows as the kernels read them, padded to vectors of four. */
export function uploadQuery(
  { gpu, task, context }: TaskResources,
  rows: RowSet,
  check: (packed: Float32Array) => void,
): GPUBuffer {
  const { headSize } = task.settings
  const stride = roundUp(headSize, 4)
  return gpu.upload('query', rows.count * stride * 4, (mapped) => {
    const target = new Float32Array(mapped, 0, rows.count * stride)
    packRows(
      context.array(task.query.array),
      task.query,
      rows,
      { first: 0, count: headSize },
      { data: target, stride: stride },
    )
    check(target)
  })
}

/** The pass's part of the keys or values of the task's head, out of the cache. */
export function residentOf(
  { cache, task, context }: TaskResources,
  slice: Slice,
  columns: number,
  pass: Pass,
): Resident {
  const count = Math.min(pass.segmentKeys, task.settings.keys - pass.segmentStart)
  return cache.get(context.array(slice.array), slice, columns, pass.segmentStart, count)
}

type InputResources = Omit<TaskResources, 'cache' | 'scratch' | 'tile'>
type KeySpan = { readonly first: number; readonly count: number }
const ONE_COLUMN = { first: 0, count: 1 }

/** The rows' part of mask, bias and segments over a pass, as bind group entries 3 to 5; the buffers go to `scratch`. */
export function uploadScoreInputs(
  resources: InputResources,
  rows: RowSet,
  pass: Pass,
  scratch: GPUBuffer[],
): GPUBindGroupEntry[] {
  const keys = { first: pass.segmentStart + pass.start, count: pass.end - pass.start }
  const uploads = [uploadMask, uploadBias, uploadSegments].map((upload) => upload(resources, rows, keys))
  return uploads.flatMap((buffer, index) => {
    if (buffer === undefined) return []
    scratch.push(buffer)
    return [{ binding: 3 + index, resource: { buffer } }]
  })
}

function uploadMask({ gpu, task, context }: InputResources, rows: RowSet, keys: KeySpan): GPUBuffer | undefined {
  const { mask } = task
  if (mask === undefined) return undefined
  const packed = broadcastRows(mask, rows)
  const stride = roundUp(keys.count, 4)
  return gpu.upload('mask', packed.count * stride, (mapped) => {
    packRows(context.array(mask.array), mask, packed, keys, { data: new Uint8Array(mapped), stride })
  })
}

function uploadBias({ gpu, task, context }: InputResources, rows: RowSet, keys: KeySpan): GPUBuffer | undefined {
  const { bias } = task
  if (bias === undefined) return undefined
  const packed = broadcastRows(bias, rows)
  const stride = roundUp(keys.count, 4)
  return gpu.upload('bias', packed.count * stride * 4, (mapped) => {
    const data = new Float32Array(mapped, 0, packed.count * stride)
    packRows(context.array(bias.array), bias, packed, keys, { data, stride })
    if (largestBias(data) === Infinity) throw new NonFiniteInput('the bias')
  })
}

/** Those of the rows, then those of the keys. */
function uploadSegments({ gpu, task, context }: InputResources, rows: RowSet, keys: KeySpan): GPUBuffer | undefined {
  const { querySegments: ofRows, keySegments: ofKeys } = task
  if (ofRows === undefined || ofKeys === undefined) return undefined
  return gpu.upload('segments', (rows.count + keys.count) * 4, (mapped) => {
    const data = new Int32Array(mapped)
    packRows(context.array(ofRows.array), ofRows, rows, ONE_COLUMN, { data, stride: 1 })
    const behind = { data: data.subarray(rows.count), stride: 1 }
    packRows(context.array(ofKeys.array), ofKeys, keys, ONE_COLUMN, behind)
  })
}

/** How a pass is cut into workgroups, and where its partials go. */
export interface PassSplit {
  readonly splitKeys: number
  readonly slot: number
}

/** The uniform of a pass over packed rows whose place 0 is the task's row `firstRow`. */
export function uploadParams(
  { gpu, task }: Pick<TaskResources, 'gpu' | 'task'>,
  firstRow: number,
  rows: number,
  pass: Pass,
  split: PassSplit,
): GPUBuffer {
  const { settings } = task
  const dropAll = settings.dropout !== null && settings.dropout.threshold >= 2 ** 32
  const keyEnd = Math.min(task.keyEnd, task.keyLength, settings.keys) - pass.segmentStart
  const stride = Math.ceil((pass.end - pass.start) / 4)
  return gpu.upload(
    'params',
    scoreParams.byteLength,
    (mapped) =>
      scoreParams.write(mapped, {
        rows,
        passStart: pass.start,
        passEnd: pass.end,
        splitKeys: split.splitKeys,
        slot: split.slot,
        keyMin: Math.max(pass.start, task.keyStart - pass.segmentStart),
        keyMax: Math.min(pass.end, keyEnd),
        ...relativePositions(task, firstRow, pass.segmentStart),
        scale: settings.scale,
        softcap: settings.softcap,
        slope: task.alibiSlope,
        maskStride: task.mask?.rowStride === 0 ? 0 : stride,
        biasStride: task.bias?.rowStride === 0 ? 0 : stride,
        firstRow: task.rowStart + firstRow,
        segmentStart: pass.segmentStart,
        batchHead: task.batchHead,
        seedLow: settings.dropout?.seedLow ?? 0,
        seedHigh: settings.dropout?.seedHigh ?? 0,
        threshold: dropAll ? 0 : (settings.dropout?.threshold ?? 0),
        keepScale: dropAll ? 0 : (settings.dropout?.keepScale ?? 1),
      }),
    USAGE.uniform,
  )
}

/** A row that is the same for all is uploaded once. */
function broadcastRows(slice: Slice, rows: RowSet): RowSet {
  return slice.rowStride === 0 ? { first: 0, count: 1 } : rows
}
