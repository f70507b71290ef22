import type { RestatedOptions } from '../attention/restate-options.ts'
import type { AttentionOptions, AttentionResult } from '../attention/attention-options.ts'
import type { Runtime } from '../attention/runtime.ts'
import { isShared } from '../core/shared-memory.ts'
import type { Tensor } from '../core/tensor.ts'
import type { AttentionSizes } from '../plan/attention-sizes.ts'
import type { PacedLoop } from '../train/paced-loop.ts'

/** Where the calls of an analysis run, and who hears of them. */
export interface AnalysisHost {
  readonly runtime: Runtime
  readonly signal: AbortSignal | undefined
  /** gives loops on the calling thread their turns */
  readonly loop: PacedLoop
  /** a call of the runtime is done */
  readonly called: () => void
}

/** One attention, of which only the weights matter. */
export interface AttentionCase {
  /** its name in messages */
  readonly what: string
  readonly sizes: AttentionSizes
  /** [B, H, M, D] */
  readonly query: Tensor
  /** [B, Hkv, N, D] */
  readonly key: Tensor
  /** those that decide about the weights */
  readonly options: RestatedOptions
}

/** An attention, and the one that gives all allowed keys the same weight. */
export interface Twins {
  readonly attention: AttentionCase
  readonly uniform: AttentionCase
}

/** What a call with other values returns: with log-sum-exp, and whatever else was asked for. */
export interface CaseResult extends AttentionResult {
  readonly logSumExp: Tensor
}

/**
 * A call over the case's queries and keys.
 *
 * @param more options in place of the case's own, and which results are wanted
 * @param value [B, Hkv, N, C]; without it one column of zeros, which costs next to nothing
 */
export async function attend(
  { query, key, sizes, options }: AttentionCase,
  host: AnalysisHost,
  more: AttentionOptions,
  value?: Tensor,
): Promise<CaseResult> {
  const { runtime, signal } = host
  const values = value ?? runtime.tensor([sizes.batch, sizes.keyValueHeads, sizes.keys, 1])
  const result = await runtime.attention(
    { query, key, value: values },
    { ...options, ...more, returnLogSumExp: true, ...(signal === undefined ? {} : { signal }) },
  )
  host.called()
  return result
}

/**
 * The same attention for heads that know nothing: every score is 0, so that weights are equal over the allowed keys.
 * One head stands for all unless masks differ by head.
 */
export function uniformTwin({ what, sizes, options }: AttentionCase, runtime: Runtime): AttentionCase {
  const { batch, queries, keys } = sizes
  const { mask, bias, causal, queryOffset, window, segments, keyLengths } = options
  const heads = [mask, bias].some((part) => part !== undefined && (part.shape[1] ?? 1) > 1) ? sizes.heads : 1
  return {
    what,
    sizes: { ...sizes, heads, keyValueHeads: 1, headSize: 1, valueSize: 1 },
    query: runtime.tensor([batch, heads, queries, 1]),
    key: runtime.tensor([batch, 1, keys, 1]),
    options: withoutUndefined({
      mask,
      causal,
      queryOffset,
      window,
      segments,
      keyLengths,
      bias: bias === undefined ? undefined : maskingPart(bias),
    }),
  }
}

function withoutUndefined(options: {
  readonly [K in keyof RestatedOptions]: RestatedOptions[K] | undefined
}): RestatedOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

/** 0 where a bias is a number, −∞ where it masks. */
function maskingPart({ data, shape }: Tensor): Tensor {
  return { data: data.map((value) => (value === -Infinity ? -Infinity : 0)), shape }
}

/** A tensor that no call of the runtime needs to copy. */
export function shared(runtime: Runtime, tensor: Tensor): Tensor {
  if (isShared(tensor.data)) return tensor
  const copy = runtime.tensor(tensor.shape)
  copy.data.set(tensor.data)
  return copy
}
