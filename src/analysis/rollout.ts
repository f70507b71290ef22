import type { Runtime } from '../attention/runtime.ts'
import type { Tensor } from '../core/tensor.ts'
import type { AttentionSizes } from '../plan/attention-sizes.ts'
import type { PacedLoop } from '../train/paced-loop.ts'
import type { ResolvedAnalysis } from './analysis-options.ts'
import { sharesOf } from './heatmap.ts'
import type { Bucket, RolloutRow } from './report.ts'

/**
 * Attention rollout (Abnar and Zuidema 2020) for some rows of one sequence: rows of the product over layers of ½W + ½I,
 * where W is the mean of a layer's heads. A row is followed from the last layer to the first, a ← ½·a + ½·Wᵀ·a, so that
 * no matrix of weights or of their products is made.
 */
export class Rollout {
  /** [N, rows]: how much of each row comes from each position */
  #shares: Float64Array

  constructor(
    private readonly rows: readonly number[],
    private readonly length: number,
    private readonly options: ResolvedAnalysis,
  ) {
    this.#shares = new Float64Array(length * rows.length)
    for (const [column, row] of rows.entries()) this.#shares[row * rows.length + column] = 1
  }

  /** X of the next layer's Pᵀ·X, [B, H, M, 1 + rows]: ones, and then the shares; zeros for other sequences. */
  columns({ batch, heads, queries }: AttentionSizes, runtime: Runtime): Tensor {
    const width = 1 + this.rows.length
    const columns = runtime.tensor([batch, heads, queries, width])
    for (let row = 0; row < batch * heads * queries; row++) {
      columns.data[row * width] = 1
      if (Math.floor(row / (heads * queries)) !== this.options.sequence) continue
      const start = (row % queries) * this.rows.length
      columns.data.set(this.#shares.subarray(start, start + this.rows.length), row * width + 1)
    }
    return columns
  }

  /** Goes one layer back. @param carried Pᵀ·X of the layer, [B, H, N, 1 + rows] */
  async follow(carried: Float32Array, { heads, keys }: AttentionSizes, loop: PacedLoop): Promise<void> {
    const count = this.rows.length
    const next = this.#shares.map((share) => share / 2)
    const first = this.options.sequence * heads * keys
    await loop.run(heads * keys, (start, end) => {
      for (let row = start; row < end; row++) {
        const to = (row % keys) * count
        const from = (first + row) * (count + 1) + 1
        for (let column = 0; column < count; column++)
          next[to + column] = (next[to + column] as number) + (carried[from + column] as number) / (2 * heads)
      }
    })
    this.#shares = next
  }

  async report(columns: readonly Bucket[], loop: PacedLoop): Promise<RolloutRow[]> {
    const { labels } = this.options
    const count = this.rows.length
    const found: RolloutRow[] = []
    for (const [column, row] of this.rows.entries()) {
      const shares = await sharesOf(
        this.length,
        columns,
        labels,
        loop,
        (key) => this.#shares[key * count + column] as number,
      )
      found.push({ row, label: labels?.[row] ?? null, shares })
    }
    return found
  }
}
