import type { AttentionBackwardOptions, AttentionBackwardResult, Runtime, Tensor } from 'heddle'
import { gradientTolerance, summedTolerance, type Tolerance } from './error-rule.ts'
import { backwardReference } from './oracle-backward.ts'
import { attentionReference, type Reference } from './oracle.ts'
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

/** One gradient beside its reference; undefined where there is none, or should be none. */
export interface GradientCheck {
  readonly name: string
  readonly actual: Tensor | Float32Array | undefined
  readonly reference: Reference | undefined
  readonly tolerance: Tolerance
}

/** Runs forward and backward, with what every gradient is to be held against. */
export async function checkedGradients(
  runtime: Runtime,
  inputs: AttentionInputs,
  options: MathOptions & AttentionBackwardOptions = {},
): Promise<{ readonly result: AttentionBackwardResult; readonly checks: readonly GradientCheck[] }> {
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
  const { dBias, dAlibiSlopes } = result
  const ofBias = scores / Math.max(1, dBias?.data.length ?? 0)
  const ofSlopes = ((M + N) ** 2 * scores) / 3 / Math.max(1, dAlibiSlopes?.length ?? 0)
  const checks: GradientCheck[] = [
    ...(['dQuery', 'dKey', 'dValue'] as const).map((name) => ({
      name,
      actual: result[name],
      reference: reference[name],
      tolerance,
    })),
    {
      name: 'dBias',
      actual: dBias,
      reference: options.biasGradient === false ? undefined : reference.dBias,
      tolerance: summedTolerance(tolerance, ofBias),
    },
    {
      name: 'dAlibiSlopes',
      actual: dAlibiSlopes,
      reference: reference.dAlibiSlopes,
      tolerance: summedTolerance(tolerance, ofSlopes),
    },
  ]
  return { result, checks }
}

/** Σ dO·O of each row of each head. */
export function deltasOf({ output, dOutput, logSumExp }: BackwardInputs): Float64Array {
  const deltas = new Float64Array(logSumExp.data.length)
  const width = output.data.length / Math.max(1, deltas.length)
  output.data.forEach((x, at) => (deltas[Math.floor(at / width)]! += x * dOutput.data[at]!))
  return deltas
}

/** The bits of everything that a backward call gave. */
export function gradientBits({ dQuery, dKey, dValue, dBias, dAlibiSlopes }: AttentionBackwardResult): string {
  const arrays = [dQuery.data, dKey.data, dValue.data, dBias?.data, dAlibiSlopes]
  return arrays.map((array) => (array === undefined ? '-' : fingerprint(array))).join(' ')
}
