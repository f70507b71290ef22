import type { Backend, TaskContext } from '../../../src/backends/backend.ts'
import type { Tensor, TensorData } from '../../../src/core/tensor.ts'
import type { AttentionTask, AttentionTaskResult, Slice, TaskArray } from '../../../src/protocol/task.ts'
import { normalise, type AttentionInputs, type MathOptions, type Problem } from '../../support/problem.ts'
import { offsetOf } from '../../support/score.ts'

export interface TaskOptions {
  /** rows a task; default all */
  readonly chunkRows?: number
  readonly standard?: boolean
  /** chosen rows of the whole sequence, chunked mode */
  readonly weightRows?: readonly number[]
  readonly statistics?: boolean
  readonly keys?: { readonly start: number; readonly end: number }
  readonly pace?: () => Promise<void> | undefined
}

/** A whole call's results, assembled: [B·H·M, …] each. */
export interface Assembled {
  readonly output: Float32Array
  readonly logSumExp: Float32Array
  readonly entropy: Float32Array
  readonly maxWeight: Float32Array
  readonly maxIndex: Int32Array
  readonly meanDistance: Float32Array
  readonly weights: Float32Array
  readonly results: readonly AttentionTaskResult[]
}

const IDS = { query: 1, key: 2, value: 3, mask: 4, bias: 5, querySegments: 6, keySegments: 7 } as const

/** The arrays of a call as a lane has them. */
export function arraysOf(problem: Problem): Map<number, TaskArray> {
  const { mask, bias, segments } = problem.options
  const arrays = new Map<number, TaskArray>([
    [IDS.query, problem.query],
    [IDS.key, problem.key],
    [IDS.value, problem.value],
  ])
  if (mask) arrays.set(IDS.mask, mask.data)
  if (bias) arrays.set(IDS.bias, bias.data)
  if (segments) arrays.set(IDS.querySegments, segments.query.data).set(IDS.keySegments, segments.key.data)
  return arrays
}

/** One task: rows [rowStart, rowStart + rows) of head h of batch b. */
export function taskOf(
  problem: Problem,
  b: number,
  h: number,
  rowStart: number,
  rows: number,
  options: TaskOptions = {},
): AttentionTask {
  const { H, Hkv, M, N, D, Dv } = problem
  const {
    scale = 1 / Math.sqrt(D),
    softcap = 0,
    causal = false,
    window,
    dropout,
    keyLengths,
    alibiSlopes,
    mask,
    bias,
    segments,
  } = problem.options
  const head = b * Hkv + Math.floor((h * Hkv) / H)
  const selected = options.weightRows
    ?.filter((row) => row >= rowStart && row < rowStart + rows)
    .map((row) => row - rowStart)
  const wantsWeights = options.standard === true || selected !== undefined
  return {
    kind: 'attention',
    settings: {
      keys: N,
      headSize: D,
      valueSize: Dv,
      scale,
      softcap,
      causal,
      windowBefore: window?.before ?? Infinity,
      windowAfter: window?.after ?? Infinity,
      dropout:
        dropout === undefined
          ? null
          : {
              threshold: Math.floor(dropout.probability * 2 ** 32),
              keepScale: 1 / (1 - dropout.probability),
              seedLow: dropout.seed % 2 ** 32,
              seedHigh: Math.floor(dropout.seed / 2 ** 32),
            },
      standard: options.standard === true,
    },
    batchHead: b * H + h,
    rowStart,
    rows,
    keyStart: options.keys?.start ?? 0,
    keyEnd: options.keys?.end ?? N,
    keyLength: keyLengths?.[b] ?? N,
    queryOffset: offsetOf(problem, b),
    alibiSlope: alibiSlopes?.[alibiSlopes.length === H ? h : b * H + h] ?? 0,
    query: { array: IDS.query, offset: ((b * H + h) * M + rowStart) * D, rowStride: D },
    key: { array: IDS.key, offset: head * N * D, rowStride: D },
    value: { array: IDS.value, offset: head * N * Dv, rowStride: Dv },
    ...(mask ? { mask: scoreSlice(IDS.mask, mask, b, h, rowStart) } : {}),
    ...(bias ? { bias: scoreSlice(IDS.bias, bias, b, h, rowStart) } : {}),
    ...(segments
      ? {
          querySegments: { array: IDS.querySegments, offset: b * M + rowStart, rowStride: 1 },
          keySegments: { array: IDS.keySegments, offset: b * N, rowStride: 1 },
        }
      : {}),
    output: true,
    logSumExp: true,
    ...(options.statistics === false ? {} : { entropy: true, maxWeight: true, maxIndex: true, meanDistance: true }),
    ...(wantsWeights ? { weights: true } : {}),
    ...(selected === undefined ? {} : { weightRows: Int32Array.from(selected) }),
  }
}

/** Row `rowStart` of head (b, h) in a tensor that broadcasts to [B, H, M, N], aligned at the right. */
function scoreSlice(array: number, tensor: Tensor<TensorData>, b: number, h: number, rowStart: number): Slice {
  const shape = [1, 1, 1, 1, ...tensor.shape].slice(-4) as [number, number, number, number]
  const [B, H, M, N] = shape
  const stride = M === 1 ? 0 : N
  const offset = ((B === 1 ? 0 : b) * H + (H === 1 ? 0 : h)) * M * N + rowStart * stride
  return { array, offset, rowStride: stride, columnStride: N === 1 ? 0 : 1 }
}

export function contextOf(
  arrays: ReadonlyMap<number, TaskArray>,
  pace: () => Promise<void> | undefined = () => undefined,
): TaskContext {
  return {
    array: (id) => {
      const array = arrays.get(id)
      if (array === undefined) throw new Error(`array ${id} is not attached`)
      return array
    },
    pace,
  }
}

/** Runs a call ([B, H, M, D] inputs) chunk by chunk on one backend and puts the results together. */
export async function runCall(
  backend: Backend,
  inputs: AttentionInputs,
  math: MathOptions = {},
  options: TaskOptions = {},
): Promise<Assembled> {
  const problem = normalise(inputs, math)
  const context = contextOf(arraysOf(problem), options.pace)
  const results: AttentionTaskResult[] = []
  const chunkRows = options.chunkRows ?? Math.max(1, problem.M)
  for (let b = 0; b < problem.B; b++) {
    for (let h = 0; h < problem.H; h++) {
      for (let row = 0; row < problem.M; row += chunkRows) {
        const task = taskOf(problem, b, h, row, Math.min(chunkRows, problem.M - row), options)
        results.push(await backend.attention(task, context))
      }
    }
  }
  backend.release?.([...arraysOf(problem).keys()])
  const join = (name: keyof AttentionTaskResult) =>
    Float32Array.from(results.flatMap((result) => [...((result[name] as Float32Array | undefined) ?? [])]))
  return {
    output: join('output'),
    logSumExp: join('logSumExp'),
    entropy: join('entropy'),
    maxWeight: join('maxWeight'),
    maxIndex: Int32Array.from(join('maxIndex')),
    meanDistance: join('meanDistance'),
    weights: join('weights'),
    results,
  }
}
