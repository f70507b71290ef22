import type { AttentionOptions, AttentionResult, Runtime, Tensor } from 'heddle'
import { expect } from 'vitest'
import { wasmTolerance, type Tolerance } from './error-rule.ts'
import { attentionReference, type AttentionReference } from './oracle.ts'
import type { AttentionInputs, MathOptions } from './problem.ts'

/** Everything that a call can return, in the mode that returns it. */
const everything = {
  chunked: { mode: 'chunked', returnLogSumExp: true, returnStatistics: true },
  standard: { mode: 'standard', returnLogSumExp: true, returnStatistics: true, returnWeights: true },
} as const satisfies Record<string, AttentionOptions>

/** Runs the call in both modes, asking for everything, and holds all of it against the oracle. */
export async function expectOracle(
  runtime: Runtime,
  inputs: AttentionInputs,
  options: MathOptions & AttentionOptions = {},
  tolerance: Tolerance = wasmTolerance,
): Promise<AttentionReference> {
  const reference = attentionReference(inputs, options)
  for (const mode of ['chunked', 'standard'] as const) {
    const result = await runtime.attention(inputs, { ...options, ...everything[mode] })
    expect(result.report.mode).toBe(mode)
    expectResult(result, reference, tolerance)
    expect(result.weights !== undefined, `${mode}: weights`).toBe(mode === 'standard')
  }
  return reference
}

/** Holds every part that the result has against the oracle. */
export function expectResult(
  result: AttentionResult,
  reference: AttentionReference,
  tolerance: Tolerance = wasmTolerance,
): void {
  const say = (part: string) => `${result.report.mode}: ${part}`
  expect(result.output, say('output')).toMatchOracle(reference.output, tolerance)
  if (result.logSumExp) expect(result.logSumExp, say('logSumExp')).toMatchOracle(reference.logSumExp, tolerance)
  if (result.weights) expect(result.weights, say('weights')).toMatchOracle(reference.weights, tolerance)
  const { statistics } = result
  if (statistics === undefined) return
  for (const name of ['entropy', 'maxWeight', 'meanDistance'] as const) {
    expect(statistics[name], say(name)).toMatchOracle(reference[name], tolerance)
  }
  expectMaxIndex(statistics.maxIndex, reference, say('maxIndex'))
}

/**
 * Each index must name an allowed key whose exact weight is the largest, up to rounding; −1 exactly where no key is
 * allowed.
 */
function expectMaxIndex(
  actual: Tensor<Int32Array>,
  { maxIndex, maxWeight, weights, problem: { N } }: AttentionReference,
  what: string,
): void {
  expect(actual.data).toBeInstanceOf(Int32Array)
  expect(actual.shape, what).toEqual(maxIndex.shape)
  actual.data.forEach((index, row) => {
    if (Number.isNaN(maxWeight.exact[row])) return
    const where = `${what}: row ${row} says ${index}, the oracle ${maxIndex.exact[row]}`
    expect(index === -1, where).toBe(maxIndex.exact[row] === -1)
    if (index === -1) return
    const slack = 1e-6 + 2 * Math.abs(maxWeight.plain[row]! - maxWeight.exact[row]!)
    expect(weights.exact[row * N + index], where).toBeGreaterThanOrEqual(maxWeight.exact[row]! - slack)
  })
}
