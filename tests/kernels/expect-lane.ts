import { expect } from 'vitest'
import { attentionReference } from '../support/oracle.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { remembered } from '../support/remembered.ts'
import { runLane, type LaneResult, type LaneRun } from './kernel-lane.ts'

const referenceOf = remembered((inputs: AttentionInputs, options: MathOptions) => attentionReference(inputs, options))

/** Runs the kernels and compares everything they gave with the float64 reference. */
export async function expectLane(inputs: AttentionInputs, options: MathOptions, run: LaneRun): Promise<LaneResult> {
  const reference = referenceOf(inputs, options)
  const result = await runLane(inputs, options, run)
  const [M = 0] = inputs.query.shape
  const [N = 0] = inputs.key.shape
  expect(result.output, 'output').toMatchOracle(reference.output)
  if (run.statistics !== false) {
    for (const field of ['logSumExp', 'entropy', 'maxWeight', 'meanDistance'] as const)
      expect(result[field], field).toMatchOracle(reference[field])
    result.maxIndex.forEach((index, row) =>
      expectLargest(index, reference.weights.exact.subarray(row * N, (row + 1) * N), row),
    )
  }
  const rows = run.mode === 'standard' ? Array.from({ length: M }, (_, row) => row) : (run.weightRows ?? [])
  const pick = (weights: Float64Array) =>
    Float64Array.from(rows.flatMap((row) => [...weights.subarray(row * N, (row + 1) * N)]))
  expect(result.weights, 'weights').toMatchOracle({
    exact: pick(reference.weights.exact),
    plain: pick(reference.weights.plain),
    shape: [rows.length, N],
  })
  return result
}

/** The index must name a weight that is the largest but for rounding; −1 in a row of zeros. */
function expectLargest(index: number, weights: Float64Array, row: number): void {
  const largest = weights.reduce((most, weight) => Math.max(most, weight), 0)
  if (largest === 0) expect(index, `row ${row}`).toBe(-1)
  else expect(weights[index], `row ${row}: weight of key ${index}`).toBeGreaterThan(largest * (1 - 1e-5))
}
