import * as tf from '@tensorflow/tfjs-core'
import { philoxWords } from '../../core/philox.ts'
import { ofBatch } from '../../plan/attention-sizes.ts'
import { keysSeenFrom } from '../../plan/visibility.ts'
import type { ForwardInputs, Gradients } from './host-forward.ts'
import type { TfCall } from './options.ts'

const LOWEST = -3.4028234663852886e38

/**
 * The gradients of attention by tfjs operations, with the full matrix of weights P recomputed:
 *
 *     dV = (P∘keep)ᵀ·dO   dP = (dO·Vᵀ)∘keep   dS = P∘(dP − rowsum(dP∘P))   dQ = scale·dS·K   dK = scale·dSᵀ·Q
 *
 * with dS·(1 − tanh²) before the products under a softcap. Memory grows with M·N, some six matrices at once.
 */
export function recomputeGradients(inputs: ForwardInputs, call: TfCall, dOutput: tf.Tensor4D): Gradients {
  const { heads, keyValueHeads } = call.layout.sizes
  const { scale, softcap, dropout } = call.options.settings
  const key = repeatHeads(inputs.key, heads)
  const value = repeatHeads(inputs.value, heads)
  const raw = tf.mul(tf.matMul(inputs.query, key, false, true), scale)
  const bent = softcap > 0 ? tf.tanh(tf.div(raw, softcap)) : null
  const weights = softmaxOf(bent === null ? raw : tf.mul(bent, softcap), inputs, call)
  const keep = dropout === null ? null : keepFactors(call)
  const kept = keep === null ? weights : tf.mul(weights, keep)
  const dKept = tf.matMul(dOutput, value, false, true)
  const dWeights = keep === null ? dKept : tf.mul(dKept, keep)
  const dScores = tf.mul<tf.Tensor4D>(weights, tf.sub(dWeights, tf.sum(tf.mul(dWeights, weights), -1, true)))
  const dRaw = tf.mul(bent === null ? dScores : tf.mul(dScores, tf.sub(1, tf.square(bent))), scale)
  return {
    query: tf.matMul<tf.Tensor4D>(dRaw, key),
    key: sumGroups(tf.matMul(dRaw, inputs.query, true), keyValueHeads),
    value: sumGroups(tf.matMul(kept, dOutput, true), keyValueHeads),
    bias: inputs.bias === null ? null : sumTo(dScores, inputs.bias.shape),
  }
}

/** The weights of scores + bias − ALiBi over the allowed keys; rows without any are 0. */
function softmaxOf(scores: tf.Tensor, { mask, bias }: ForwardInputs, call: TfCall): tf.Tensor {
  let [logits, allowed] = [scores, visibleKeys(call)]
  if (mask !== null) allowed = tf.logicalAnd(allowed, tf.notEqual(mask, 0))
  if (bias !== null) {
    const finite = tf.greaterEqual(bias, LOWEST)
    allowed = tf.logicalAnd(allowed, finite)
    logits = tf.add(logits, tf.where(finite, bias, tf.zerosLike(bias)))
  }
  if (call.options.alibiSlopes !== null) logits = tf.sub(logits, slopes(call))
  allowed = tf.broadcastTo(allowed, logits.shape)
  const seen = tf.where(allowed, logits, tf.fill(logits.shape, LOWEST))
  const exponentials = tf.where(allowed, tf.exp(tf.sub(seen, tf.max(seen, -1, true))), tf.zerosLike(logits))
  const sums = tf.sum(exponentials, -1, true)
  return tf.div(exponentials, tf.where(tf.greater(sums, 0), sums, tf.onesLike(sums)))
}

/** Which keys position, lengths and segments allow: bool [B, 1, M, N]. */
function visibleKeys({ layout, options }: TfCall): tf.Tensor {
  const { batch, queries, keys } = layout.sizes
  const allowed = new Uint8Array(batch * queries * keys)
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < queries; i++) {
      const seen = keysSeenFrom(
        i + ofBatch(options.queryOffset, b),
        options.settings,
        Math.min(keys, ofBatch(options.keyLength, b)),
      )
      for (let j = seen.start; j < seen.end; j++) {
        const { segments } = options
        if (segments !== null && segments.query[b * queries + i] !== segments.key[b * keys + j]) continue
        allowed[(b * queries + i) * keys + j] = 1
      }
    }
  }
  return tf.tensor(allowed, [batch, 1, queries, keys], 'bool')
}

/** slope·|i + queryOffset − j|: [B, H, M, N]. */
function slopes({ layout, options }: TfCall): tf.Tensor {
  const { batch, heads, queries, keys } = layout.sizes
  const distance = Float32Array.from({ length: batch * queries * keys }, (_, at) => {
    const [b, i, j] = [Math.floor(at / (queries * keys)), Math.floor(at / keys) % queries, at % keys]
    return Math.abs(i + ofBatch(options.queryOffset, b) - j)
  })
  const given = options.alibiSlopes as Float32Array
  return tf.mul(tf.tensor(distance, [batch, 1, queries, keys]), tf.tensor(given, [given.length / heads, heads, 1, 1]))
}

/** 1/(1 − p) where dropout keeps a weight, else 0: [B, H, M, N]. */
function keepFactors({ layout, options }: TfCall): tf.Tensor {
  const { batch, heads, queries, keys } = layout.sizes
  const { threshold, keepScale, ...seed } = options.settings.dropout as NonNullable<typeof options.settings.dropout>
  const factors = new Float32Array(batch * heads * queries * keys)
  const words = new Uint32Array(4)
  for (let row = 0; row < batch * heads * queries; row++) {
    for (let j = 0; j < keys; j++) {
      if (j % 4 === 0) philoxWords(words, seed, j / 4, row % queries, Math.floor(row / queries), 0)
      if ((words[j % 4] as number) >= threshold) factors[row * keys + j] = keepScale
    }
  }
  return tf.tensor(factors, [batch, heads, queries, keys])
}

/** [B, Hkv, N, D] as [B, H, N, D]: query head h reads head ⌊h·Hkv/H⌋. */
function repeatHeads(tensor: tf.Tensor4D, heads: number): tf.Tensor4D {
  const [batch, keyValueHeads, keys, size] = tensor.shape
  if (keyValueHeads === heads) return tensor
  // Rank 3, because tfjs takes tensors of rank 5 off the device.
  const groups = tf.tile(tf.reshape(tensor, [batch * keyValueHeads, 1, keys * size]), [1, heads / keyValueHeads, 1])
  return tf.reshape(groups, [batch, heads, keys, size])
}

/** The reverse of `repeatHeads` for gradients. */
function sumGroups(gradient: tf.Tensor, keyValueHeads: number): tf.Tensor4D {
  const [batch = 0, heads = 0, keys = 0, size = 0] = gradient.shape
  if (heads === keyValueHeads) return gradient as tf.Tensor4D
  const sums = tf.sum(tf.reshape(gradient, [batch * keyValueHeads, heads / keyValueHeads, keys * size]), 1)
  return tf.reshape(sums, [batch, keyValueHeads, keys, size])
}

/** Sums over the axes along which a tensor of `shape` was broadcast. */
function sumTo(gradient: tf.Tensor4D, shape: readonly number[]): tf.Tensor4D {
  const axes = [0, 1, 2, 3].filter((axis) => shape[axis] === 1 && gradient.shape[axis] !== 1)
  return axes.length === 0 ? gradient : tf.sum(gradient, axes, true)
}
