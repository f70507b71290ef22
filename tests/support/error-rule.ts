import type { Reference } from './oracle.ts'

/** How far an array may be from its float64 reference. */
export interface Tolerance {
  /** times the error of the plain float32 implementation */
  readonly plainFactor: number
  /** of max(1, max|x|) over the tensor */
  readonly floor: number
  /** per element instead: floor + floor·|x| (what WebGPU promises) */
  readonly perElement?: boolean
}

/** e ≤ 2·e_plain + 1e-6·max(1, max|x|), over a tensor's worst element. */
export const wasmTolerance: Tolerance = { plainFactor: 2, floor: 1e-6 }

/**
 * What is made from a float32 log-sum-exp: e ≤ 2·e_plain + (1e-6 + 2⁻²⁴·max|L|)·max(1, max|δ|)·max(1, max|x|). P =
 * exp(S − L) carries the rounding of L, up to 2⁻²⁴·|L|, and of S, and dP − δ that of both: where a row is all but
 * one-hot these vanish in the plain algorithm alone, whose L is S itself and whose δ is dP.
 *
 * @param deltas Σ dO·O of each row; none where only P counts
 */
export function gradientTolerance(logSumExp: ArrayLike<number>, deltas: ArrayLike<number> = []): Tolerance {
  return { plainFactor: 2, floor: (1e-6 + 2 ** -24 * largestOf(logSumExp)) * Math.max(1, largestOf(deltas)) }
}

function largestOf(numbers: ArrayLike<number>): number {
  return Array.from(numbers).reduce((most, x) => (Number.isFinite(x) ? Math.max(most, Math.abs(x)) : most), 0)
}

/**
 * Of elements that sum many dS, of which little or nothing may be left: each is rounded by some 1e-7, and by as much of
 * L, and they add up as a random walk. @param squares the sum of the squares of what they are multiplied by: their
 * number where it is 1
 */
export function summedTolerance({ plainFactor, floor }: Tolerance, squares: number): Tolerance {
  return { plainFactor, floor: floor + 0.1 * floor * Math.sqrt(squares) }
}

/** |error| ≤ 1e-5 + 1e-5·|x|, per element. */
export const webgpuTolerance: Tolerance = { plainFactor: 0, floor: 1e-5, perElement: true }

export interface Closeness {
  readonly ok: boolean
  /** the worst finite element, or the first NaN or infinity that differs */
  readonly worstIndex: number
  readonly error: number
  readonly plainError: number
  readonly bound: number
}

/** The error rule over one array. NaN and infinities must stand at exactly the reference's places. */
export function measureCloseness(
  actual: ArrayLike<number>,
  exact: ArrayLike<number>,
  plain: ArrayLike<number>,
  tolerance: Tolerance = wasmTolerance,
): Closeness {
  let [worstIndex, error, worstExcess, plainError, largest] = [-1, 0, -Infinity, 0, 0]
  for (let index = 0; index < exact.length; index++) {
    const [is, should] = [actual[index]!, exact[index]!]
    if (!Number.isFinite(should) || !Number.isFinite(is)) {
      if (!Object.is(is, should)) return { ok: false, worstIndex: index, error: NaN, plainError, bound: 0 }
      continue
    }
    if (Number.isFinite(plain[index]!)) plainError = Math.max(plainError, Math.abs(plain[index]! - should))
    largest = Math.max(largest, Math.abs(should))
    const excess = Math.abs(is - should) - (tolerance.perElement ? tolerance.floor * Math.abs(should) : 0)
    if (excess > worstExcess) [worstIndex, worstExcess, error] = [index, excess, Math.abs(is - should)]
  }
  const floor = tolerance.perElement ? tolerance.floor : tolerance.floor * Math.max(1, largest)
  const bound = tolerance.plainFactor * plainError + floor
  return { ok: worstExcess <= bound, worstIndex, error, plainError, bound }
}

/** Several small tensors as one, so that the rule is over the worst of them all. */
export function pooled(references: readonly Reference[]): Reference {
  const join = (arrays: readonly Float64Array[]) => {
    const all = new Float64Array(arrays.reduce((sum, array) => sum + array.length, 0))
    arrays.reduce((at, array) => (all.set(array, at), at + array.length), 0)
    return all
  }
  const exact = join(references.map((reference) => reference.exact))
  return { exact, plain: join(references.map((reference) => reference.plain)), shape: [exact.length] }
}
