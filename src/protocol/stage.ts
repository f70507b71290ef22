import type { ArrayId, AttentionTask, Slice } from './task.ts'

/**
 * A stage: row-wise operations that a lane applies to one chunk of rows without going back to the scheduler. The lane
 * works on a few rows at once (a tile), in registers: row buffers of a fixed width that live for one tile. Only what a
 * store names leaves the lane.
 */

/** Index into a task's `registers`. */
export type Register = number

/**
 * A weight matrix [outSize, inSize] (row-major, PyTorch's layout), or a vector (outSize elements, inSize 1). A lane
 * packs it when it first meets it and keeps it until it meets another version, or must make room.
 */
export interface ResidentWeight {
  /** the parameter's own number: never used twice in a process */
  readonly parameter: number
  readonly version: number
  readonly array: ArrayId
  readonly offset: number
  readonly outSize: number
  readonly inSize: number
  /** the product is with W instead of Wᵀ: `outSize` inputs, `inSize` outputs */
  readonly transposed?: true
}

export type Activation = 'relu' | 'gelu' | 'gelu-tanh' | 'silu' | 'tanh'

/**
 * Dropout by counter: element c of a row is kept when word c mod 4 of the counter (⌊c/4⌋, row, batch, site) is ≥
 * threshold.
 */
export interface RowDropout {
  readonly threshold: number
  readonly keepScale: number
  readonly seedLow: number
  readonly seedHigh: number
  /** tells the dropouts of one seed apart; 0 is attention's own */
  readonly site: number
}

/** Targets equal to `ignoreIndex` count for nothing; `smoothing` is spread evenly over all classes. */
export interface CrossEntropyRule {
  readonly ignoreIndex: number
  readonly smoothing: number
}

/**
 * Rows of several heads: row r of head h of batch b is at `offset + b·batchStride + h·headStride + r·rowStride`.
 */
export interface HeadSlice {
  readonly array: ArrayId
  readonly offset: number
  /** 0 where absent */
  readonly batchStride?: number
  readonly headStride: number
  readonly rowStride: number
  /** rows of each batch that stand before its row 0; 0 where absent */
  readonly rowShifts?: readonly number[]
}

/** Values of a slab, which the sums over its rows read: `stride` rows per panel of columns (8 or 4), zero-filled. */
export interface SlabSlice {
  readonly array: ArrayId
  readonly offset: number
  readonly stride: number
}

/** All rows of a tensor: row r of batch b stands at `offset + b·batchStride + r·rowStride`. */
export interface BatchSlice {
  readonly array: ArrayId
  readonly offset: number
  /** 0 where there are only the rows of the chunk's batch */
  readonly batchStride: number
  readonly rowStride: number
}

export type RowStep<S extends Slice = Slice, H extends HeadSlice = HeadSlice> =
  /** the chunk's rows, [rows, width of `to`]; `byPosition`: rows of a table, the same for every sequence */
  | { readonly op: 'load'; readonly to: Register; readonly from: S; readonly byPosition?: true }
  /** scale · table[token] for each row's token; Int32 [rows] */
  | { readonly op: 'embed'; readonly to: Register; readonly tokens: S; readonly table: Slice; readonly scale: number }
  /** to = from · Wᵀ + b */
  | {
      readonly op: 'linear'
      readonly from: Register
      readonly to: Register
      readonly weight: ResidentWeight
      readonly bias: ResidentWeight | null
    }
  /** the chunk's rows of every head, the `slots` of each added in their order */
  | {
      readonly op: 'load-heads'
      readonly to: Register
      readonly heads: number
      readonly from: H
      readonly slots: number
      readonly slotStride: number
    }
  /** to = (from − mean)/√(variance + epsilon)·w + b over each row */
  | {
      readonly op: 'norm'
      readonly from: Register
      readonly to: Register
      readonly weight: ResidentWeight
      readonly bias: ResidentWeight | null
      readonly epsilon: number
    }
  /** to = (from − mean)/√(variance + epsilon) */
  | { readonly op: 'normalise'; readonly from: Register; readonly to: Register; readonly epsilon: number }
  /** to = ∂/∂x of the norm's output times dy; `to` may be `dy` */
  | {
      readonly op: 'norm-backward'
      readonly x: Register
      readonly dy: Register
      readonly to: Register
      readonly weight: ResidentWeight
      readonly epsilon: number
    }
  /** to = from/√(mean(from²) + epsilon)·w over each row */
  | {
      readonly op: 'rms-norm'
      readonly from: Register
      readonly to: Register
      readonly weight: ResidentWeight
      readonly epsilon: number
    }
  /** to = from/√(mean(from²) + epsilon) */
  | { readonly op: 'rms-normalise'; readonly from: Register; readonly to: Register; readonly epsilon: number }
  /** to = ∂/∂x of the RMS norm's output times dy; `to` may be `dy` */
  | {
      readonly op: 'rms-norm-backward'
      readonly x: Register
      readonly dy: Register
      readonly to: Register
      readonly weight: ResidentWeight
      readonly epsilon: number
    }
  /** to = from/√(mean(from²) + epsilon)·w over each head of a row; one weight serves all heads */
  | {
      readonly op: 'rms-norm-heads'
      readonly from: Register
      readonly to: Register
      readonly headSize: number
      readonly weight: ResidentWeight | null
      readonly epsilon: number
    }
  /** to = the sum of the `groups` equal parts of each row */
  | { readonly op: 'fold'; readonly from: Register; readonly to: Register; readonly groups: number }
  /** to = from */
  | { readonly op: 'copy'; readonly from: Register; readonly to: Register }
  /** to += from */
  | { readonly op: 'add'; readonly from: Register; readonly to: Register }
  /** to = to ∘ from */
  | { readonly op: 'multiply'; readonly from: Register; readonly to: Register }
  /** to −= from */
  | { readonly op: 'subtract'; readonly from: Register; readonly to: Register }
  | { readonly op: 'scale'; readonly register: Register; readonly factor: number }
  | { readonly op: 'activate'; readonly register: Register; readonly activation: Activation }
  /** dy = dy ∘ f′(x) in place */
  | { readonly op: 'activate-backward'; readonly x: Register; readonly dy: Register; readonly activation: Activation }
  | { readonly op: 'drop'; readonly register: Register; readonly dropout: RowDropout }
  /**
   * rotates the pairs (c, c + R/2) of every head by the angle of the row's position, or back: `table` holds cos and
   * sin, [rows, R], R = `turned`
   */
  | {
      readonly op: 'rotate'
      readonly register: Register
      readonly headSize: number
      readonly turned: number
      readonly table: S
      readonly byPosition?: true
      readonly back?: true
    }
  /**
   * for each row s: the largest of each column over the rows of segment s among the batch's `sequence` rows, and the
   * index of the first row that holds it; 0 and −1 where there is no such row
   */
  | {
      readonly op: 'max-rows'
      readonly rows: BatchSlice
      /** Int32, a number per row */
      readonly segments: BatchSlice
      readonly sequence: number
      readonly to: Register
      readonly places: Register
    }
  /** to = dLargest of the row's segment where the row is the one in `places`, else 0; `count` segments per batch */
  | {
      readonly op: 'max-rows-backward'
      readonly dLargest: BatchSlice
      readonly places: BatchSlice
      readonly count: number
      readonly segments: S
      readonly to: Register
    }
  /** the chunk's rows go to their place (shared memory), or back with the result */
  | { readonly op: 'store'; readonly from: Register; readonly to: S | 'returned' }
  /** stores [rows, heads·D] head by head, so that a head's rows follow each other: [heads, rows, D] where returned */
  | { readonly op: 'store-heads'; readonly from: Register; readonly heads: number; readonly to: H | 'returned' }
  /** the rows in panels of `columns` columns, to their place in the slab */
  | { readonly op: 'store-slab'; readonly from: Register; readonly to: SlabSlice; readonly columns: 4 | 8 }
  /** the sum of the tile's rows, to the tile's row of [tiles, width] */
  | { readonly op: 'sum-columns'; readonly from: Register; readonly to: SlabSlice }
  /** the loss of each row against its target, and its log-sum-exp; 0 where the target is to be ignored */
  | {
      readonly op: 'cross-entropy'
      readonly logits: Register
      readonly targets: S
      readonly loss: Register
      readonly logSumExp: Register
      readonly rule: CrossEntropyRule
    }
  /** logits = factor·∂loss/∂logits in place */
  | {
      readonly op: 'cross-entropy-backward'
      readonly logits: Register
      readonly targets: S
      readonly logSumExp: Register
      readonly factor: number
      readonly rule: CrossEntropyRule
    }
  /** to = Σ_c (x_c − y_c)² of each row */
  | { readonly op: 'squared-error'; readonly x: Register; readonly y: Register; readonly to: Register }

/** The weights that steps read, in their order. */
export function weightsOf(steps: readonly RowStep[]): ResidentWeight[] {
  return steps.flatMap((step) => [
    ...('weight' in step && step.weight !== null ? [step.weight] : []),
    ...('bias' in step && step.bias !== null ? [step.bias] : []),
  ])
}

/** The array of a task's own attention output, for `load`: [rows, width]. Ids of attached arrays start at 1. */
export const CONTEXT_ARRAY: ArrayId = 0

/** Attention as the first part of a stage. */
export interface RowStageAttention {
  readonly tasks: readonly AttentionTask[]
  /** elements per row of `CONTEXT_ARRAY` */
  readonly width: number
  /** Arrays that the lane makes for results which go back with the task's; number i has the id −1 − i. */
  readonly returned: readonly { readonly length: number; readonly integers: boolean }[]
}

/** Rows [rowStart, rowStart + rows) of one batch, through a list of steps. */
export interface RowStageTask {
  readonly kind: 'rows'
  readonly batch: number
  /** the first row's index in its sequence: part of the dropout counter */
  readonly rowStart: number
  readonly rows: number
  /**
   * M, where the rows run on into the next batches: row r is then row (rowStart + r) mod M of batch
   * batch + ⌊(rowStart + r) / M⌋. Slices by position and of heads are then those of position 0 and of batch 0.
   */
  readonly sequence?: number
  /** the first row's index in its slab; 0 where there is none */
  readonly slabRow?: number
  /** whether it must not run on a GPU, which has no kernels for gradients */
  readonly withoutGpu?: true
  /** elements per row, for each register */
  readonly registers: readonly number[]
  /**
   * what a lane sets aside for registers, attention's output and scratch: as much as any stage of the pass needs, so
   * that it does so once
   */
  readonly registerBytes: number
  /** attention of these rows over all keys, before the first step; its outputs go to `CONTEXT_ARRAY` */
  readonly attention: RowStageAttention | null
  readonly steps: readonly RowStep[]
  /**
   * packed weights that this stage does not use are dropped, least recently used first, while a lane holds more than
   * that
   */
  readonly residentLimitBytes: number
}

/** One dense array for each result of attention that returns rows, then one for each step that does, in their order. */
export interface RowStageResult {
  readonly stored: readonly (Float32Array | Int32Array)[]
  readonly elapsedMs: number
}

/** Rows of one sequence among the rows of a chunk. */
export interface RowRun {
  readonly batch: number
  /** index of the first one in its sequence */
  readonly row: number
  readonly rows: number
  /** index of the first one in the chunk */
  readonly at: number
}

/** Cuts rows [at, at + rows) of a task where sequences end. */
export function rowRuns(
  { batch, rowStart, sequence }: Pick<RowStageTask, 'batch' | 'rowStart' | 'sequence'>,
  at: number,
  rows: number,
): RowRun[] {
  if (sequence === undefined) return [{ batch, row: rowStart + at, rows, at }]
  const runs: RowRun[] = []
  for (let done = 0; done < rows;) {
    const flat = rowStart + at + done
    const row = flat % sequence
    const count = Math.min(rows - done, sequence - row)
    runs.push({ batch: batch + Math.floor(flat / sequence), row, rows: count, at: at + done })
    done += count
  }
  return runs
}
