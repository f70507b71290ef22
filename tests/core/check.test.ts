import { describe, expect, it } from 'vitest'
import { checkNames } from '../../src/core/check.ts'

const LAYER = ['modelDim', 'heads', 'keyValueHeads', 'feedForwardDim', 'dropout', 'epsilon', 'norm', 'layers']
const FORWARD = ['causal', 'mask', 'keyMask', 'keyLengths', 'returnWeights', 'averageWeights', 'cache', 'window']
const CALL = ['causal', 'mask', 'bias', 'keyLengths', 'scale', 'softcap', 'keyValueHeads', 'heads', 'queryOffset']

describe('checkNames', () => {
  it.each([
    ['dModel', LAYER, 'modelDim'],
    ['embed_dim', LAYER, 'modelDim'],
    ['hidden_size', LAYER, 'modelDim'],
    ['num_heads', LAYER, 'heads'],
    ['numHeads', LAYER, 'heads'],
    ['nhead', LAYER, 'heads'],
    ['num_key_value_heads', LAYER, 'keyValueHeads'],
    ['key_value_heads', LAYER, 'keyValueHeads'],
    ['dim_feedforward', LAYER, 'feedForwardDim'],
    ['layer_norm_eps', LAYER, 'epsilon'],
    ['num_hidden_layers', LAYER, 'layers'],
    ['norm_first', LAYER, "norm: 'pre' or 'post'"],
    ['is_causal', FORWARD, 'causal'],
    ['isCausal', CALL, 'causal'],
    ['need_weights', FORWARD, 'returnWeights'],
    ['average_attn_weights', FORWARD, 'averageWeights'],
    ['past_key_values', FORWARD, 'cache'],
    ['sliding_window', FORWARD, 'window: { before, after }'],
    ['softmax_scale', CALL, 'scale'],
    ['numThreads', ['workers'], 'workers'],
    ['causel', CALL, 'causal'],
  ])('%s: did you mean', (name, names, suggestion) => {
    expect(() => checkNames('call: options', { [name]: 1 }, names)).toThrow(
      `got ${JSON.stringify(name)} (did you mean ${suggestion}?)`,
    )
  })

  it.each([
    ['keyPaddingMask', FORWARD, 'keyMask: nonzero may be attended, the opposite of key_padding_mask?'],
    ['src_key_padding_mask', FORWARD, 'keyMask: nonzero may be attended, the opposite of key_padding_mask?'],
    ['key_padding_mask', CALL, 'keyLengths: the number of keys that may be attended?'],
    ['attention_mask', FORWARD, 'keyMask: nonzero may be attended, as there?'],
    ['attn_mask', FORWARD, "mask: nonzero may attend; boolean masks of PyTorch's layers mean the opposite"],
    ['attention_mask', CALL, 'mask: nonzero may attend'],
  ])('%s: says whether the meaning is the same', (name, names, suggestion) => {
    expect(() => checkNames('call: options', { [name]: 1 }, names)).toThrow(suggestion)
  })

  it('suggests only what the call takes, and nothing for other names', () => {
    expect(() => checkNames('call: options', { is_causal: true }, ['scale'])).toThrow(/got "is_causal"$/)
    expect(() => checkNames('call: options', { toString2: 1 }, CALL)).toThrow(/got "toString2"$/)
  })
})
