import { tensor, type Runtime } from '../../index.ts'
import { worstDifference } from '../bench/reference-rows.ts'
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
  const places = Array.from({ length: heads * rows }, (_, at) => ({ head: Math.floor(at / rows), row: at % rows }))
  const data = { query: query.data, key: key.data, value: value.data, output: output.data }
  const worst = worstDifference({ ...data, tokens: rows, headSize, causal: true }, places)
  const kernels = [...new Set(report.lanes.map((lane) => lane.kernels))].join(', ')
  return {
    name,
    outcome: worst <= TOLERANCE ? 'passed' : 'failed',
    detail: `${kernels}, largest difference ${worst.toExponential(1)} (allowed ${TOLERANCE})`,
  }
}
