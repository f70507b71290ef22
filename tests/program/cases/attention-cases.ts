import type { AttentionOptions } from '../../../src/attention/attention-options.ts'
import { resolveLayerAttention } from '../../../src/nn/layers/layer-attention-options.ts'
import { attend } from '../../../src/program/operations/attend.ts'
import { scale } from '../../../src/program/operations/elementwise.ts'
import { pool, type RowPooling } from '../../../src/program/operations/pool.ts'
import { split } from '../../../src/program/operations/split.ts'
import { one, rowOf, sumOf, type CaseTable, type OperationCase } from './operation-case.ts'

const attendCase = (keyHeads: number, options: AttentionOptions): OperationCase => ({
  inputs: ({ W }) => [4 * W, keyHeads * W, keyHeads * W],
  build: (graph, [query, key, value], _parameters, _tokens, { B, M, W }) => {
    const sizes = { batch: B, heads: 4, keyValueHeads: keyHeads, queries: M, keys: M, headSize: W }
    const attended = { query: query!, key: key!, value: value! }
    return attend(graph, attended, { heads: 4, keyHeads }, resolveLayerAttention(sizes, options)).context
  },
  reference: ({ inputs: [query, key, value] }, { B, M, W }) => {
    const output = new Float64Array(query!.length)
    for (let row = 0; row < B * 4 * M; row++) {
      const [b, h, i] = [Math.floor(row / (4 * M)), Math.floor(row / M) % 4, row % M]
      const keyAt = (j: number): number => ((b * M + j) * keyHeads + Math.floor((h * keyHeads) / 4)) * W
      const at = ((b * M + i) * 4 + h) * W
      const powers = Array.from({ length: options.causal === true ? i + 1 : M }, (_, j) =>
        Math.exp(sumOf(query!.subarray(at, at + W), (q, c) => q * key![keyAt(j) + c]!) / Math.sqrt(W)),
      )
      const total = sumOf(powers, (power) => power)
      powers.forEach((power, j) => {
        for (let c = 0; c < W; c++) output[at + c]! += (power / total) * value![keyAt(j) + c]!
      })
    }
    return output
  },
  samples: 2,
})

/** How far into the sequence each of three segments reaches: the second has no row of a short sequence. */
const segmentOf = (i: number, M: number): number => (i < M / 3 ? 0 : i < M - 2 ? 2 : i === M - 1 ? 7 : 0)
const POOL_SEGMENTS = 3

const poolCase = (pooling: RowPooling, segmented: boolean): OperationCase => ({
  inputs: one,
  build: (graph, [x], _parameters, _tokens, { B, M }) => {
    const numbers = Int32Array.from({ length: B * M }, (_, at) => segmentOf(at % M, M))
    // A gradient that nothing is done to would be the caller's own array.
    return scale(
      graph,
      pool(graph, scale(graph, x!, 2), pooling, segmented ? { count: POOL_SEGMENTS, numbers } : {}),
      0.5,
    )
  },
  reference: ({ inputs: [x] }, { B, M, W }) => {
    const count = segmented ? POOL_SEGMENTS : 1
    const output = new Float64Array(B * count * W)
    for (let b = 0; b < B; b++) {
      for (let segment = 0; segment < count; segment++) {
        const rows = Array.from({ length: M }, (_, i) => i).filter((i) => !segmented || segmentOf(i, M) === segment)
        const counted = pooling === 'first' ? rows.slice(0, 1) : pooling === 'last' ? rows.slice(-1) : rows
        if (pooling === 'max') {
          const of = (c: number): number[] => rows.map((i) => rowOf(x!, b * M + i, B * M)[c]!)
          if (rows.length > 0) for (let c = 0; c < W; c++) output[(b * count + segment) * W + c] = Math.max(...of(c))
          continue
        }
        for (const i of counted)
          rowOf(x!, b * M + i, B * M).forEach((value, c) => {
            output[(b * count + segment) * W + c]! += value / counted.length
          })
      }
    }
    return output
  },
  samples: 6,
})

export const attentionCases = {
  'max-rows': {
    'of all rows': poolCase('max', false),
    'of segments': poolCase('max', true),
  },
  split: {
    'three heads': {
      inputs: ({ W }) => [3 * W],
      // A gradient that nothing is done to would be the caller's own array, head by head.
      build: (graph, [x]) => split(graph, scale(graph, x!, 2), 3),
      reference: ({ inputs: [x] }, { B, M, W }) =>
        Float64Array.from({ length: B * M * 3 * W }, (_, at) => {
          const [b, h, i, c] = [
            Math.floor(at / (3 * M * W)),
            Math.floor(at / (M * W)) % 3,
            Math.floor(at / W) % M,
            at % W,
          ]
          return 2 * x![((b * M + i) * 3 + h) * W + c]!
        }),
    },
  },
  attend: {
    'all keys': attendCase(4, {}),
    'causal, grouped heads': attendCase(2, { causal: true }),
    'as a mean of all rows': poolCase('mean', false),
    'as means of segments': poolCase('mean', true),
    'as the first row': poolCase('first', false),
    'as first rows of segments': poolCase('first', true),
    'as the last row': poolCase('last', false),
    'as last rows of segments': poolCase('last', true),
  },
} satisfies CaseTable
