import type { Tensor, TensorData } from '../core/tensor.ts'
import type { Batch } from './batch.ts'

/** Sequences [first, first + count) of a batch, as a batch [count, M]. The memory is the batch's. */
export function batchPart(batch: Batch, first: number, count: number, sequences: number): Batch {
  const part = ([name, tensor]: [string, Tensor<TensorData> | undefined]): [string, unknown] => [name, tensor === undefined ? tensor : sequencesOf(tensor, first, count, sequences)]
  return Object.fromEntries(Object.entries(batch).map((entry) => part(entry as [string, Tensor<TensorData> | undefined]))) as unknown as Batch
}

function sequencesOf({ data, shape }: Tensor<TensorData>, first: number, count: number, sequences: number): Tensor<TensorData> {
  const length = data.length / sequences
  return { data: data.subarray(first * length, (first + count) * length), shape: [count, ...shape.slice(1)] }
}

/** How many sequences a batch has. @param rows [B, M] or [M] */
export function sequencesOfBatch(rows: readonly number[]): number {
  return rows.length === 1 ? 1 : (rows[0] ?? 0)
}
