import type {
  AttentionBackwardOptions,
  AttentionBackwardResult,
  AttentionTransposedResult,
  Runtime,
  Tensor,
} from 'heddle'
import { expect } from 'vitest'
import { gradientTolerance } from './error-rule.ts'
import { checkedGradients, forwardFor } from './gradient-checks.ts'
import { transposedReference } from './oracle-backward.ts'
import { attentionReference } from './oracle.ts'
import type { AttentionInputs, MathOptions } from './problem.ts'

/** Runs forward and backward, and holds every gradient against the oracle. */
export async function expectGradients(
  runtime: Runtime,
  inputs: AttentionInputs,
  options: MathOptions & AttentionBackwardOptions = {},
): Promise<AttentionBackwardResult> {
  const { result, checks } = await checkedGradients(runtime, inputs, options)
  for (const { name, actual, reference, tolerance } of checks) {
    expect(actual !== undefined, name).toBe(reference !== undefined)
    if (actual !== undefined && reference !== undefined) expect(actual, name).toMatchOracle(reference, tolerance)
  }
  return result
}

/** Runs forward and Pᵀ·X, and holds it against the oracle. */
export async function expectTransposed(
  runtime: Runtime,
  inputs: AttentionInputs,
  rows: Tensor | undefined,
  options: MathOptions = {},
): Promise<AttentionTransposedResult> {
  const { query, key, logSumExp } = await forwardFor(runtime, inputs, options)
  const result = await runtime.attentionTransposed(
    { query, key, logSumExp, ...(rows === undefined ? {} : { rows }) },
    options,
  )
  const tolerance = gradientTolerance(attentionReference(inputs, options).logSumExp.exact)
  expect(result.output).toMatchOracle(transposedReference(inputs, rows, options), tolerance)
  return result
}
