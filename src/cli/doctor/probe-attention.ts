import { tensor, type Runtime } from '../../index.ts'
import { largestDifference, referenceRow } from '../bench/reference-rows.ts'
import { normalValues } from '../bench/normal-values.ts'

/** What came of one small attention beside its float64 reference. */
export interface Probe {
  readonly name: string
  /** 'unavailable' where the machine cannot and need not */
  readonly outcome: 'passed' | 'failed' | 'unavailable'
  readonly detail: string
}

/** No multiple of any tile, so that tails run too. */
const SIZES = { heads: 3, rows: 149, headSize: 40 } as const
/** For values of a normal distribution; the kernels stay below a tenth of it. */
const TOLERANCE = 1e-5

/** Causal attention of a few hundred rows against its float64 reference, every element of it. */
export async function probeAttention(name: string, runtime: Runtime, signal: AbortSignal): Promise<Probe> {
  const { heads, rows, headSize } = SIZES
  const [query, key, value] = [1, 2, 3].map((seed) =>
    tensor(normalValues(heads * rows * headSize, seed), [1, heads, rows, headSize]),
  )
  if (query === undefined || key === undefined || value === undefined) throw new Error('probe: expected three tensors')
  const { output, report } = await runtime.attention({ query, key, value }, { causal: true, signal })
  let worst = 0
  for (let head = 0; head < heads; head++) {
    const slice = (data: Float32Array): Float32Array =>
      data.subarray(head * rows * headSize, (head + 1) * rows * headSize)
    const data = {
      query: slice(query.data),
      key: slice(key.data),
      value: slice(value.data),
      headSize,
      valueSize: headSize,
    }
    for (let row = 0; row < rows; row++) {
      const found = slice(output.data).subarray(row * headSize, (row + 1) * headSize)
      worst = Math.max(worst, largestDifference(found, referenceRow(data, row, row + 1)))
    }
  }
  const kernels = [...new Set(report.lanes.map((lane) => lane.kernels))].join(', ')
  return {
    name,
    outcome: worst <= TOLERANCE ? 'passed' : 'failed',
    detail: `${kernels}, largest difference ${worst.toExponential(1)} (allowed ${TOLERANCE})`,
  }
}
