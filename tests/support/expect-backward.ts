import type {
  AttentionBackwardOptions,
  AttentionBackwardResult,
  AttentionTransposedResult,
  Runtime,
  Tensor,
} from 'heddle'
import { expect } from 'vitest'
import { gradientTolerance, summedTolerance } from './closeness.ts'
import { backwardReference, transposedReference } from './oracle-backward.ts'
import { attentionReference } from './oracle.ts'
import type { AttentionInputs, MathOptions } from './problem.ts'
import { Random } from './random.ts'
import { fingerprint, normalTensor } from './tensors.ts'

/** A forward call's inputs and results, and a gradient of its output. */
export interface BackwardInputs extends AttentionInputs {
  readonly output: Tensor
  readonly logSumExp: Tensor
  readonly dOutput: Tensor
}

/** Runs forward, and draws a gradient of its output. */
export async function forwardFor(
  runtime: Runtime,
  inputs: AttentionInputs,
  options: MathOptions = {},
  seed = 5,
): Promise<BackwardInputs> {
  const { output, logSumExp } = await runtime.attention(inputs, { ...options, returnLogSumExp: true })
  return { ...inputs, output, logSumExp: logSumExp, dOutput: normalTensor(new Random(seed), output.shape) }
}

/** The options that forward takes too. */
export function mathematicsOf(options: MathOptions & AttentionBackwardOptions): MathOptions {
  return Object.fromEntries(Object.entries(options).filter(([name]) => name !== 'chunkSize' && name !== 'biasGradient'))
}

/** Runs forward and backward, and holds every gradient against the oracle. */
export async function expectGradients(
  runtime: Runtime,
  inputs: AttentionInputs,
  options: MathOptions & AttentionBackwardOptions = {},
): Promise<AttentionBackwardResult> {
  const mathematical = mathematicsOf(options)
  const call = await forwardFor(runtime, inputs, mathematical)
  const reference = backwardReference(inputs, call.dOutput, mathematical)
  const result = await runtime.attentionBackward(call, options)
  const {
    logSumExp,
    problem: { B, H, M, N },
  } = attentionReference(inputs, mathematical)
  const tolerance = gradientTolerance(logSumExp.exact, deltasOf(call))
  const scores = B * H * M * N
  for (const name of ['dQuery', 'dKey', 'dValue'] as const)
    expect(result[name], name).toMatchOracle(reference[name], tolerance)
  expect(result.dBias !== undefined, 'dBias').toBe(options.bias !== undefined && options.biasGradient !== false)
  if (result.dBias !== undefined)
    expect(result.dBias, 'dBias').toMatchOracle(
      reference.dBias!,
      summedTolerance(tolerance, scores / Math.max(1, result.dBias.data.length)),
    )
  expect(result.dAlibiSlopes !== undefined, 'dAlibiSlopes').toBe(options.alibiSlopes !== undefined)
  if (result.dAlibiSlopes !== undefined)
    expect(result.dAlibiSlopes, 'dAlibiSlopes').toMatchOracle(
      reference.dAlibiSlopes!,
      summedTolerance(tolerance, ((M + N) ** 2 * scores) / 3 / Math.max(1, result.dAlibiSlopes.length)),
    )
  return result
}

/** Σ dO·O of each row of each head. */
export function deltasOf({ output, dOutput, logSumExp }: BackwardInputs): Float64Array {
  const deltas = new Float64Array(logSumExp.data.length)
  const width = output.data.length / Math.max(1, deltas.length)
  output.data.forEach((x, at) => (deltas[Math.floor(at / width)]! += x * dOutput.data[at]!))
  return deltas
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

/** The bits of everything that a backward call gave. */
export function gradientBits({ dQuery, dKey, dValue, dBias, dAlibiSlopes }: AttentionBackwardResult): string {
  const arrays = [dQuery.data, dKey.data, dValue.data, dBias?.data, dAlibiSlopes]
  return arrays.map((array) => (array === undefined ? '-' : fingerprint(array))).join(' ')
}
