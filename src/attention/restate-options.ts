import type { Tensor } from '../core/tensor.ts'
import type { AttentionSizes } from '../plan/attention-sizes.ts'
import type { AttentionOptions } from './attention-options.ts'
import type { ScoreStrides } from './broadcast.ts'
import type { ResolvedBias } from './relative-bias.ts'
import type { ResolvedOptions } from './resolve-options.ts'

/** Integers in them are int32. */
export interface RestatedOptions extends AttentionOptions {
  readonly queryOffset?: Int32Array
  readonly keyLengths?: Int32Array
  readonly mask?: Tensor<Uint8Array>
  readonly segments?: { readonly query: Tensor<Int32Array>; readonly key: Tensor<Int32Array> }
}

/**
 * Resolved options as a caller would give them for tensors [B, H, M, D]: those that decide about the weights, without
 * dropout. What a layer resolved can so be given to another call.
 */
export function restateOptions(resolved: ResolvedOptions, sizes: AttentionSizes): RestatedOptions {
  const { settings, alibiSlopes, mask, bias, segments, queryOffset, keyLength } = resolved
  const { batch, queries, keys } = sizes
  const { windowBefore: before, windowAfter: after, causal, scale, softcap } = settings
  const perBatch = (values: readonly number[]): Int32Array =>
    Int32Array.from({ length: batch }, (_, b) => values[b] ?? values[0] ?? 0)
  return {
    ...{ causal, scale, softcap },
    ...(before === Infinity && after === Infinity ? {} : { window: { before, after } }),
    ...(queryOffset.every((offset) => offset === 0) ? {} : { queryOffset: perBatch(queryOffset) }),
    ...(keyLength.every((length) => length === keys) ? {} : { keyLengths: perBatch(keyLength) }),
    ...(alibiSlopes === null ? {} : { alibiSlopes }),
    ...(mask === null ? {} : { mask: { data: mask.data, shape: shapeOf(mask.strides, sizes) } }),
    ...(bias === null ? {} : restateBias(bias, sizes)),
    ...(segments === null
      ? {}
      : {
          segments: {
            query: { data: segments.query, shape: [batch, queries] },
            key: { data: segments.key, shape: [batch, keys] },
          },
        }),
  }
}

function restateBias(
  { data, strides, table }: ResolvedBias,
  sizes: AttentionSizes,
): Pick<AttentionOptions, 'bias' | 'relativeBias'> {
  return table === null ? { bias: { data, shape: shapeOf(strides, sizes) } } : { relativeBias: table }
}

/** The shape over [B, H, M, N] of a dense tensor with these strides. */
function shapeOf({ batch, head, row, column }: ScoreStrides, sizes: AttentionSizes): readonly number[] {
  return [
    batch === 0 ? 1 : sizes.batch,
    head === 0 ? 1 : sizes.heads,
    row === 0 ? 1 : sizes.queries,
    column === 0 ? 1 : sizes.keys,
  ]
}
