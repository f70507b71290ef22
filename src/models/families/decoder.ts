import { PLAIN_ATTENTION, type Architecture, type AttentionSpec, type BlockSpec } from '../architecture.ts'
import type { LogitRule } from '../../program/operations/logits.ts'
import type { ModelConfig } from '../model-config.ts'
import { refusePrunedHeads } from './bert.ts'
import { activationOf, evenHeadSize, linearSpec, rmsNormSpec, type Family } from './family.ts'
import { rotaryConfig } from './rotary-config.ts'

/** What sets the decoders of Llama's kind apart. */
export interface DecoderTraits {
  /** biases of query, key and value, and of the output */
  readonly biases: (config: ModelConfig) => { readonly input: boolean; readonly output: boolean }
  /** whether queries and keys are normed over each head */
  readonly headNorms: boolean
  /** the number of keys that each row of a layer sees, itself included; null: all */
  readonly window: (config: ModelConfig) => (layer: number) => number | null
  /** of keys and values, where the config says nothing: null is as many as heads */
  readonly keyValueHeads: number | null
}

/** What all of them have in common. */
export const DECODER: Omit<Family, 'name' | 'modelTypes' | 'architecture'> = {
  prefixes: ['model.'],
  unused: [/^(score|classifier|qa_outputs)\./, /rotary_emb\.inv_freq$/, /^lm_head\./],
  pooling: 'last',
}

/** RMS norms, gated feed-forward, grouped heads, rotary positions (Touvron et al. 2023). */
export function decoderArchitecture(config: ModelConfig, traits: DecoderTraits): Architecture {
  refusePrunedHeads(config)
  config.only('mlp_bias', false)
  config.only('is_decoder', true, false)
  const modelDim = config.size('hidden_size')
  const vocabulary = config.size('vocab_size')
  const heads = config.size('num_attention_heads')
  const headSize =
    config.get('head_dim') === undefined ? evenHeadSize(config, modelDim, heads) : config.size('head_dim')
  const { rotary, maxLength } = rotaryConfig(config, headSize)
  const epsilon = config.positive('rms_norm_eps', 1e-6)
  const tied = config.flag('tie_word_embeddings', false)
  const attention = attentionOf(config, traits, { modelDim, heads, headSize, epsilon })
  return {
    vocabulary,
    modelDim,
    maxLength,
    embeddings: {
      tokens: { name: 'embed_tokens.weight', rows: vocabulary, width: modelDim },
      positions: null,
      types: null,
      norm: null,
    },
    blocks: blocksOf(config, modelDim, epsilon, (layer, name) => ({ ...attention(layer, name), rotary })),
    finalNorm: rmsNormSpec('norm', modelDim, epsilon),
    head: tied ? 'tied' : linearSpec('lm_head', modelDim, vocabulary, false),
    logits: logitRule(config),
  }
}

/** Cohere's and Gemma's options, which other decoders may have too. */
function logitRule(config: ModelConfig): LogitRule {
  const given = (name: string): boolean => config.get(name) !== undefined
  return {
    ...(given('logit_scale') ? { scale: config.positive('logit_scale') } : {}),
    ...(given('final_logit_softcapping') ? { softcap: config.positive('final_logit_softcapping') } : {}),
  }
}

interface AttentionSizes {
  readonly modelDim: number
  readonly heads: number
  readonly headSize: number
  readonly epsilon: number
}

function attentionOf(
  config: ModelConfig,
  traits: DecoderTraits,
  { modelDim, heads, headSize, epsilon }: AttentionSizes,
): (layer: number, block: string) => AttentionSpec {
  const keyValueHeads = config.size('num_key_value_heads', traits.keyValueHeads ?? heads)
  if (heads % keyValueHeads !== 0)
    config.refuse(`num_key_value_heads ${keyValueHeads} (expected a divisor of ${heads} heads)`)
  const { input, output } = traits.biases(config)
  const windowOf = traits.window(config)
  return (layer, block) => {
    const name = (part: string): string => `${block}.self_attn.${part}`
    const window = windowOf(layer)
    return {
      ...PLAIN_ATTENTION,
      heads,
      keyValueHeads,
      headSize,
      query: linearSpec(name('q_proj'), modelDim, heads * headSize, input),
      key: linearSpec(name('k_proj'), modelDim, keyValueHeads * headSize, input),
      value: linearSpec(name('v_proj'), modelDim, keyValueHeads * headSize, input),
      output: linearSpec(name('o_proj'), heads * headSize, modelDim, output),
      queryNorm: traits.headNorms ? rmsNormSpec(name('q_norm'), headSize, epsilon) : null,
      keyNorm: traits.headNorms ? rmsNormSpec(name('k_norm'), headSize, epsilon) : null,
      causal: true,
      window: window === null ? null : { before: window - 1, after: 0 },
    }
  }
}

function blocksOf(
  config: ModelConfig,
  modelDim: number,
  epsilon: number,
  attention: (layer: number, block: string) => AttentionSpec,
): BlockSpec[] {
  const hidden = config.size('intermediate_size')
  const activation = activationOf(config, ['hidden_act', 'hidden_activation'], 'silu')
  return Array.from({ length: config.layers('num_hidden_layers') }, (_, layer) => {
    const name = `layers.${layer}`
    return {
      name,
      order: 'pre',
      attention: attention(layer, name),
      attentionNorm: rmsNormSpec(`${name}.input_layernorm`, modelDim, epsilon),
      feedForwardNorm: rmsNormSpec(`${name}.post_attention_layernorm`, modelDim, epsilon),
      feedForward: {
        gate: linearSpec(`${name}.mlp.gate_proj`, modelDim, hidden, false),
        up: linearSpec(`${name}.mlp.up_proj`, modelDim, hidden, false),
        down: linearSpec(`${name}.mlp.down_proj`, hidden, modelDim, false),
        activation,
      },
    }
  })
}

/** `layer_types` where a config has them; else what `fallback` says. Both name the same windows. */
export function slidingWindows(
  config: ModelConfig,
  window: number | null,
  slides: (layer: number) => boolean,
): (layer: number) => number | null {
  const types = config.get('layer_types')
  if (types === undefined) return (layer) => (slides(layer) ? window : null)
  const known = ['full_attention', 'sliding_attention']
  if (!Array.isArray(types) || !types.every((type) => known.includes(String(type)))) {
    config.refuse(`layer_types (supported: lists of ${known.join(' and ')})`)
    return () => null
  }
  return (layer) => (types[layer] === 'sliding_attention' ? window : null)
}
