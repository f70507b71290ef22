/** A matrix by rows; NaN stands for a cell that does not exist, such as a masked one. */
export interface Matrix {
  readonly values: ArrayLike<number>
  readonly rows: number
  readonly columns: number
}

/** A matrix in which a cell stands for up to `rowStep` × `columnStep` cells of the one it came from. */
export interface PooledMatrix extends Matrix {
  readonly values: Float64Array
  readonly rowStep: number
  readonly columnStep: number
}

/** What a pooled cell says of its cells. */
export type Pooling = 'max' | 'mean'

/** At most `limit` rows and columns; cells that do not exist do not count. */
export function poolMatrix({ values, rows, columns }: Matrix, limit: number, pooling: Pooling): PooledMatrix {
  const [rowStep, columnStep] = [Math.max(1, Math.ceil(rows / limit)), Math.max(1, Math.ceil(columns / limit))]
  const pooled = { rows: Math.ceil(rows / rowStep), columns: Math.ceil(columns / columnStep) }
  const result = new Float64Array(pooled.rows * pooled.columns).fill(pooling === 'max' ? -Infinity : 0)
  const counts = new Uint32Array(result.length)
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const value = values[row * columns + column] ?? NaN
      if (Number.isNaN(value)) continue
      const at = Math.floor(row / rowStep) * pooled.columns + Math.floor(column / columnStep)
      const before = result[at] ?? 0
      result[at] = pooling === 'max' ? Math.max(before, value) : before + value
      counts[at] = (counts[at] ?? 0) + 1
    }
  }
  for (const [at, count] of counts.entries()) {
    if (count === 0) result[at] = NaN
    else if (pooling === 'mean') result[at] = (result[at] ?? 0) / count
  }
  return { ...pooled, values: result, rowStep, columnStep }
}
