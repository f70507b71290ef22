import { allowedKeys, attentionOracle, type Reference } from './oracle.ts'
import { keepMask } from './philox.ts'
import { broadcastIndex, inLayout, normalise, type AttentionInputs, type MathOptions, type Problem } from './problem.ts'
import type { Tensor } from '../../src/core/tensor.ts'
import { dotOf, exactly, inSingle, offsetOf, rounded, scoreOf, type Round } from './score.ts'

/** Gradients in the layouts of what they belong to. */
export interface BackwardReference {
  readonly dQuery: Reference
  readonly dKey: Reference
  readonly dValue: Reference
  readonly dBias?: Reference
  readonly dAlibiSlopes?: Reference
}

/** Dense gradients: [B, H, M, D], [B, Hkv, N, D], [B, Hkv, N, Dv], the bias's shape, and the slopes' length. */
interface Gradients {
  readonly dQuery: Float64Array
  readonly dKey: Float64Array
  readonly dValue: Float64Array
  readonly dBias: Float64Array
  readonly dAlibiSlopes: Float64Array
}

/** The gradients of Σ output·dOutput, by the chain rule over the plain algorithm, in float64 and in float32. */
export function backwardReference(
  inputs: AttentionInputs,
  dOutput: Tensor,
  options: MathOptions = {},
): BackwardReference {
  const problem = normalise(inputs, options)
  const { H, Hkv, M, N, D, Dv } = problem
  // dOutput has the query's layout, so that it is split into heads the way a query is.
  const dense = normalise({ ...inputs, query: dOutput }, options).query
  const [exact, plain] = [gradients(problem, dense, exactly), gradients(problem, dense, inSingle)]
  const laid = (name: 'dQuery' | 'dKey' | 'dValue', heads: number, rows: number, size: number): Reference => {
    const { data, shape } = inLayout(problem, exact[name], heads, rows, size)
    return { exact: data, plain: inLayout(problem, plain[name], heads, rows, size).data, shape }
  }
  const { bias, alibiSlopes } = options
  return {
    dQuery: laid('dQuery', H, M, D),
    dKey: laid('dKey', Hkv, N, D),
    dValue: laid('dValue', Hkv, N, Dv),
    ...(bias ? { dBias: { exact: exact.dBias, plain: plain.dBias, shape: bias.shape } } : {}),
    ...(alibiSlopes
      ? { dAlibiSlopes: { exact: exact.dAlibiSlopes, plain: plain.dAlibiSlopes, shape: [alibiSlopes.length] } }
      : {}),
  }
}

function gradients(problem: Problem, dOutput: Float32Array, round: Round): Gradients {
  const { B, H, M, N, query, key, value, options } = problem
  const { weights, deltas } = probabilities(problem, dOutput, round)
  const into: Gradients = {
    dQuery: new Float64Array(query.length),
    dKey: new Float64Array(key.length),
    dValue: new Float64Array(value.length),
    dBias: new Float64Array(options.bias?.data.length ?? 0),
    dAlibiSlopes: new Float64Array(options.alibiSlopes?.length ?? 0),
  }
  for (let row = 0; row < B * H * M; row++) {
    const [b, h, i] = [Math.floor(row / (H * M)), Math.floor(row / M) % H, row % M]
    const allowed = allowedKeys(problem, b, h, i)
    const dWeights = throughValues(
      problem,
      [b, h, i],
      allowed,
      weights.subarray(row * N, (row + 1) * N),
      dOutput,
      into,
      round,
    )
    throughScores(
      problem,
      [b, h, i],
      { allowed, weights: weights.subarray(row * N, (row + 1) * N), delta: deltas?.[row] },
      dWeights,
      into,
      round,
    )
  }
  return into
}

/**
 * P = exp(S − L) over the allowed keys and δ = Σ dO·O of each row, as every backward pass in linear memory makes them
 * (Dao 2023): where L and O are float32, their rounding is a part of the plain algorithm's error. In float64 P are the
 * softmax's weights, and δ, which is Σ P·dP, is left to them.
 */
function probabilities(
  problem: Problem,
  dOutput: Float32Array | null,
  round: Round,
): { weights: Float64Array; deltas: Float64Array | undefined } {
  const { B, H, M, N, Dv } = problem
  const { weights, logSumExp, output } = attentionOracle(problem, round)
  if (round === exactly) return { weights, deltas: undefined }
  const dense = headsOf(output, problem)
  const deltas = new Float64Array(B * H * M)
  for (let row = 0; row < B * H * M; row++) {
    const [b, h, i] = [Math.floor(row / (H * M)), Math.floor(row / M) % H, row % M]
    for (const j of allowedKeys(problem, b, h, i)) {
      weights[row * N + j] = round(Math.exp(round(scoreOf(problem, b, h, i, j, round) - logSumExp[row]!)))
    }
    for (let c = 0; dOutput !== null && c < Dv; c++)
      deltas[row] = round(deltas[row]! + round(dOutput[row * Dv + c]! * dense[row * Dv + c]!))
  }
  return { weights, deltas }
}

/** An output in the call's layout as dense [B, H, M, Dv]. */
function headsOf(output: Float64Array, { layout, B, H, M, Dv }: Problem): Float64Array {
  if (layout !== '[B, N, E]') return output
  return Float64Array.from(output, (_, at) => {
    const [b, h, i, c] = [
      Math.floor(at / (H * M * Dv)),
      Math.floor(at / (M * Dv)) % H,
      Math.floor(at / Dv) % M,
      at % Dv,
    ]
    return output[((b * M + i) * H + h) * Dv + c]!
  }).subarray(0, B * H * M * Dv)
}

type Row = readonly [b: number, h: number, i: number]

/** X where it is absent. */
const ONE = Float32Array.of(1)

/**
 * Pᵀ·X per query head, with the weights before dropout: X [B, H, M, C] in the query's layout, or ones where it is
 * absent.
 */
export function transposedReference(
  inputs: AttentionInputs,
  rows: Tensor | undefined,
  options: MathOptions = {},
): Reference {
  const withoutDropout = Object.fromEntries(
    Object.entries(options).filter(([name]) => name !== 'dropout'),
  ) as MathOptions
  const problem = normalise(inputs, withoutDropout)
  const { B, H, M, N } = problem
  const x = rows === undefined ? undefined : normalise({ ...inputs, query: rows }, withoutDropout)
  const width = x?.D ?? 1
  const [exact, plain] = [exactly, inSingle].map((round) => {
    const { weights } = probabilities(problem, null, round)
    const sums = new Float64Array(B * H * N * width)
    for (let row = 0; row < B * H * M; row++) {
      const from = x === undefined ? { data: ONE, at: 0 } : { data: x.query, at: row * width }
      for (let j = 0; j < N; j++) {
        const weight = weights[row * N + j]!
        const at = (Math.floor(row / M) * N + j) * width
        // A fully masked row adds nothing, whatever X holds.
        if (weight !== 0) rounded(round).addScaled({ data: sums, at }, weight, from, width)
      }
    }
    return inLayout(problem, sums, H, N, width)
  }) as [ReturnType<typeof inLayout>, ReturnType<typeof inLayout>]
  return { exact: exact.data, plain: plain.data, shape: exact.shape }
}

/** dV += dropout(P)ᵀ·dO; returns dP = dropout(dO·Vᵀ), at the allowed keys. */
function throughValues(
  problem: Problem,
  [b, h, i]: Row,
  allowed: readonly number[],
  weights: Float64Array,
  dOutput: Float32Array,
  into: Gradients,
  round: Round,
): Float64Array {
  const {
    H,
    Hkv,
    M,
    N,
    Dv,
    value,
    options: { dropout },
  } = problem
  const { dot, addScaled } = rounded(round)
  const start = (b * Hkv + Math.floor((h * Hkv) / H)) * N * Dv
  const dRow = dOutput.subarray(((b * H + h) * M + i) * Dv, ((b * H + h) * M + i + 1) * Dv)
  const keep = dropout && keepMask(dropout.seed, dropout.probability, b * H + h, i, N)
  const dWeights = new Float64Array(N)
  for (const j of allowed) {
    const factor = !dropout ? 1 : keep?.[j] ? round(1 / round(1 - dropout.probability)) : 0
    const at = start + j * Dv
    const dWeight = dot({ data: dRow, at: 0 }, { data: value, at }, Dv)
    addScaled({ data: into.dValue, at }, round(weights[j]! * factor), { data: dRow, at: 0 }, Dv)
    // A dropped weight takes no part, not even where its value is NaN.
    dWeights[j] = factor === 0 ? 0 : round(dWeight * factor)
  }
  return dWeights
}

/** dS = P·(dP − δ), δ = Σ P·dP, then back through ALiBi, bias, softcap and scale into dQ and dK. */
function throughScores(
  problem: Problem,
  [b, h, i]: Row,
  row: { readonly allowed: readonly number[]; readonly weights: Float64Array; readonly delta: number | undefined },
  dWeights: Float64Array,
  into: Gradients,
  round: Round,
): void {
  const { allowed, weights } = row
  const {
    H,
    Hkv,
    M,
    N,
    D,
    query,
    key,
    options: { bias, alibiSlopes, softcap = 0, scale = 1 / Math.sqrt(D) },
  } = problem
  const { addScaled } = rounded(round)
  const queryStart = ((b * H + h) * M + i) * D
  const mean = row.delta ?? allowed.reduce((sum, j) => round(sum + round(weights[j]! * dWeights[j]!)), 0)
  for (const j of allowed) {
    let dScore = round(weights[j]! * round(dWeights[j]! - mean))
    if (alibiSlopes) {
      const at = alibiSlopes.length === H ? h : b * H + h
      into.dAlibiSlopes[at] = round(into.dAlibiSlopes[at]! - round(dScore * Math.abs(i + offsetOf(problem, b) - j)))
    }
    if (bias) {
      const at = broadcastIndex(problem, bias.shape, [b, h, i, j])
      into.dBias[at] = round(into.dBias[at]! + dScore)
    }
    if (softcap > 0) {
      const capped = round(Math.tanh(round(round(round(scale) * dotOf(problem, b, h, i, j, round)) / round(softcap))))
      dScore = round(dScore * round(1 - round(capped * capped)))
    }
    const dDot = round(dScore * round(scale))
    const keyStart = ((b * Hkv + Math.floor((h * Hkv) / H)) * N + j) * D
    addScaled({ data: into.dQuery, at: queryStart }, dDot, { data: key, at: keyStart }, D)
    addScaled({ data: into.dKey, at: keyStart }, dDot, { data: query, at: queryStart }, D)
  }
}
