import { expect } from 'vitest'
import type { Tensor } from '../../src/core/tensor.ts'
import type { AttentionBackwardTask, KeySegmentTask, ScoredHead } from '../../src/protocol/backward-task.ts'
import type { TaskArray } from '../../src/protocol/task.ts'
import { gradientTolerance, summedTolerance } from '../support/error-rule.ts'
import { attentionReference } from '../support/oracle.ts'
import { backwardReference, transposedReference } from '../support/oracle-backward.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { remembered } from '../support/remembered.ts'
import { backendOf, GUARD, Guarded, mathOf, runLane, type Binary } from './kernel-lane.ts'

export interface BackwardRun {
  readonly binary: Binary
  /** where the keys are cut: the first key of each further segment */
  readonly cuts?: readonly number[]
  /** log-sum-exp and output in place of those of the same kernels' forward pass */
  readonly forward?: { readonly output: Float32Array; readonly logSumExp: Float32Array }
  readonly stepRows?: number
}

export interface LaneGradients {
  readonly dQuery: Float32Array
  readonly dKey: Float32Array
  readonly dValue: Float32Array
  readonly dBias?: Float32Array
  readonly dAlibiSlopes?: Float32Array
}

interface Made {
  readonly arrays: readonly TaskArray[]
  readonly task: KeySegmentTask
  readonly head: ScoredHead
  readonly value: { readonly array: number; readonly offset: number; readonly rowStride: number }
}

const IDS = {
  query: 0,
  key: 1,
  value: 2,
  mask: 3,
  bias: 4,
  querySegments: 5,
  keySegments: 6,
  output: 7,
  logSumExp: 8,
  dOutput: 9,
  dQuery: 10,
  dKey: 11,
  dValue: 12,
  dBias: 13,
}

/**
 * Gradients of one head, [M, D], [N, D] and [N, Dv], through a backend, key segment by key segment into guarded arrays.
 */
export async function runBackwardLane(
  inputs: AttentionInputs,
  dOutput: Tensor,
  options: MathOptions,
  run: BackwardRun,
): Promise<LaneGradients> {
  const [M = 0, D = 0] = inputs.query.shape
  const [N = 0, Dv = 0] = inputs.value.shape
  const { output, logSumExp } = await forwardOf(inputs, options, run)
  const kind = biasKind(options.bias, M, N)
  const into = {
    dQuery: new Guarded(M * D),
    dKey: new Guarded(N * D),
    dValue: new Guarded(N * Dv),
    dBias: new Guarded(options.bias?.data.length ?? 0),
  }
  const sums = { dQuery: new Float32Array(M * D), dBias: new Float64Array(options.bias?.data.length ?? 0), slopes: 0 }
  const { arrays, task, head, value } = make(inputs, options, { output, logSumExp, dOutput: dOutput.data })
  const context = {
    array: (id: number) =>
      [...arrays, into.dQuery.floats, into.dKey.floats, into.dValue.floats, into.dBias.floats][id] as TaskArray,
    pace: () => undefined,
  }
  const cuts = [0, ...(run.cuts ?? []), N]
  for (let at = 0; at + 1 < cuts.length; at++) {
    const [keyStart, keyEnd] = [cuts[at]!, cuts[at + 1]!]
    const dBias = kind === 'matrix' ? { array: IDS.dBias, offset: GUARD + keyStart, rowStride: N } : (true as const)
    const backward: AttentionBackwardTask = {
      ...task,
      kind: 'attention-backward',
      keyStart,
      keyEnd,
      stepRows: run.stepRows ?? 64,
      value,
      heads: [
        {
          ...head,
          output: { array: IDS.output, offset: 0, rowStride: Dv },
          dOutput: { array: IDS.dOutput, offset: 0, rowStride: Dv },
          dQuery: { array: IDS.dQuery, offset: GUARD, rowStride: D },
          ...(kind === undefined ? {} : { dBias }),
        },
      ],
      dKey: { array: IDS.dKey, offset: GUARD + keyStart * D, rowStride: D },
      dValue: { array: IDS.dValue, offset: GUARD + keyStart * Dv, rowStride: Dv },
      ...(kind === undefined ? {} : { biasGradient: kind }),
      slopeGradient: options.alibiSlopes !== undefined,
    }
    const result = await backendOf(run.binary).attentionBackward!(backward, context)
    into.dQuery.checked().forEach((x, index) => (sums.dQuery[index] = Math.fround(sums.dQuery[index]! + x)))
    result.dBias?.forEach(
      (x, index) => (sums.dBias[kind === 'columns' ? keyStart + index : sums.dBias.length === 1 ? 0 : index]! += x),
    )
    sums.slopes += result.dAlibiSlopes?.[0] ?? 0
  }
  return {
    dQuery: sums.dQuery,
    dKey: into.dKey.checked(),
    dValue: into.dValue.checked(),
    ...(kind === undefined ? {} : { dBias: kind === 'matrix' ? into.dBias.checked() : Float32Array.from(sums.dBias) }),
    ...(options.alibiSlopes === undefined ? {} : { dAlibiSlopes: Float32Array.of(sums.slopes) }),
  }
}

/** Pᵀ·X of one head, the same way. */
export async function runTransposedLane(
  inputs: AttentionInputs,
  rows: Tensor | undefined,
  options: MathOptions,
  run: BackwardRun,
): Promise<Float32Array> {
  const [N = 0] = inputs.key.shape
  const width = rows?.shape[1] ?? 1
  const into = new Guarded(N * width)
  const { logSumExp } = await forwardOf(inputs, options, run)
  const { arrays, task, head } = make(inputs, options, {
    output: new Float32Array(0),
    logSumExp,
    dOutput: rows?.data ?? new Float32Array(0),
  })
  const context = {
    array: (id: number) => (id === IDS.dValue ? into.floats : arrays[id]) as TaskArray,
    pace: () => undefined,
  }
  const cuts = [0, ...(run.cuts ?? []), N]
  for (let at = 0; at + 1 < cuts.length; at++) {
    const [keyStart, keyEnd] = [cuts[at]!, cuts[at + 1]!]
    await backendOf(run.binary).attentionTransposed!(
      {
        ...task,
        kind: 'attention-transposed',
        keyStart,
        keyEnd,
        settings: { ...task.settings, valueSize: width, dropout: null },
        head,
        columns: rows === undefined ? null : { array: IDS.dOutput, offset: 0, rowStride: width },
        output: { array: IDS.dValue, offset: GUARD + keyStart * width, rowStride: width },
      },
      context,
    )
  }
  return into.checked()
}

const toleranceOf = remembered((inputs: AttentionInputs, options: MathOptions) =>
  gradientTolerance(attentionReference(inputs, options).logSumExp.exact),
)
const gradientsOf = remembered((inputs: AttentionInputs, dOutput: Tensor, options: MathOptions) => ({
  reference: backwardReference(inputs, dOutput, options),
  tolerance: toleranceOf(inputs, options),
}))
const transposedOf = remembered((inputs: AttentionInputs, rows: Tensor | undefined, options: MathOptions) => ({
  reference: transposedReference(inputs, rows, options),
  tolerance: toleranceOf(inputs, options),
}))

/** Runs the kernels and compares every gradient with the float64 reference. */
export async function expectBackwardLane(
  inputs: AttentionInputs,
  dOutput: Tensor,
  options: MathOptions,
  run: BackwardRun,
): Promise<void> {
  const { reference, tolerance } = gradientsOf(inputs, dOutput, options)
  const gradients = await runBackwardLane(inputs, dOutput, options, run)
  expect(Object.keys(gradients).sort()).toEqual(Object.keys(reference).sort())
  const scores = (inputs.query.shape[0] ?? 0) * (inputs.key.shape[0] ?? 0)
  for (const [name, gradient] of Object.entries(gradients)) {
    const sums = name === 'dBias' || name === 'dAlibiSlopes'
    expect(gradient, name).toMatchOracle(
      reference[name as keyof typeof reference]!,
      sums ? summedTolerance(tolerance, scores / gradient.length) : tolerance,
    )
  }
}

export async function expectTransposedLane(
  inputs: AttentionInputs,
  rows: Tensor | undefined,
  options: MathOptions,
  run: BackwardRun,
): Promise<void> {
  const { reference, tolerance } = transposedOf(inputs, rows, options)
  expect(await runTransposedLane(inputs, rows, options, run)).toMatchOracle(reference, tolerance)
}

/** The forward pass of the same kernels: rounding of large scores is in its log-sum-exp too, and cancels. */
async function forwardOf(
  inputs: AttentionInputs,
  options: MathOptions,
  { binary, forward }: BackwardRun,
): Promise<{ output: Float32Array; logSumExp: Float32Array }> {
  return forward ?? runLane(inputs, options, { binary })
}

function biasKind(bias: Tensor | undefined, M: number, N: number): 'matrix' | 'columns' | 'rows' | undefined {
  if (bias === undefined) return undefined
  const [rows, columns] = bias.shape.length === 1 ? [1, bias.shape[0]!] : [bias.shape[0]!, bias.shape[1]!]
  if (columns === 1 && N > 1) return 'rows'
  return rows === 1 && M > 1 ? 'columns' : 'matrix'
}

function make(
  inputs: AttentionInputs,
  options: MathOptions,
  more: { output: Float32Array; logSumExp: Float32Array; dOutput: Float32Array },
): Made {
  const { query, key, value } = inputs
  const [M = 0, headSize = 0] = query.shape
  const [N = 0, valueSize = 0] = value.shape
  const empty = new Float32Array(0)
  const arrays = [
    query.data,
    key.data,
    value.data,
    options.mask?.data ?? empty,
    options.bias?.data ?? empty,
    options.segments?.query.data ?? empty,
    options.segments?.key.data ?? empty,
    more.output,
    more.logSumExp,
    more.dOutput,
  ]
  const { settings, batchHead, keyLength, queryOffset, alibiSlope, ...places } = mathOf(
    options,
    0,
    { M, N, headSize, valueSize },
    false,
  )
  const { mask, bias, ...segments } = places as Pick<ScoredHead, 'mask' | 'bias'> &
    Pick<KeySegmentTask, 'querySegments' | 'keySegments'>
  return {
    arrays,
    task: {
      settings,
      rows: M,
      keyStart: 0,
      keyEnd: N,
      keyLength,
      queryOffset,
      stepRows: 64,
      key: { array: IDS.key, offset: 0, rowStride: headSize },
      ...segments,
    },
    head: {
      batchHead,
      alibiSlope,
      query: { array: IDS.query, offset: 0, rowStride: headSize },
      logSumExp: { array: IDS.logSumExp, offset: 0, rowStride: 1 },
      ...(mask === undefined ? {} : { mask }),
      ...(bias === undefined ? {} : { bias }),
    },
    value: { array: IDS.value, offset: 0, rowStride: valueSize },
  }
}
