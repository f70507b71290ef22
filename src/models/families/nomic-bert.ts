import {
  joinedProjections,
  PLAIN_ATTENTION,
  type Architecture,
  type BlockSpec,
  type FeedForwardSpec,
} from '../architecture.ts'
import type { RotaryOptions } from '../../nn/layers/rotary-frequencies.ts'
import type { ModelConfig } from '../model-config.ts'
import { ENCODER_EXTRAS } from './bert.ts'
import { activationOf, evenHeadSize, layerNormSpec, linearSpec, type Family } from './family.ts'

/** Nussbaum et al. 2024: rotary positions, gated feed-forward, norms behind the sums. */
export const nomicBert: Family = {
  name: 'nomic_bert',
  modelTypes: ['nomic_bert'],
  prefixes: ['bert.'],
  unused: ENCODER_EXTRAS,
  pooling: 'mean',
  architecture,
}

function architecture(config: ModelConfig): Architecture {
  config.only('causal', false)
  config.only('parallel_block', false)
  config.only('parallel_block_tied_norm', false)
  config.only('use_rms_norm', false)
  config.only('scale_attn_weights', true)
  config.only('scale_attn_by_inverse_layer_idx', false)
  config.only('add_cross_attention', false)
  config.only('tie_word_embeddings', true, false)
  config.only('rotary_emb_interleaved', false)
  config.only('rotary_emb_scale_base')
  config.only('prenorm', false)
  config.only('quantization_config')
  const modelDim = config.size(['n_embd', 'hidden_size'])
  const epsilon = config.positive(['layer_norm_epsilon', 'layer_norm_eps'], 1e-5)
  const vocabulary = paddedVocabulary(config)
  const types = config.get('type_vocab_size') ?? 2
  return {
    vocabulary,
    modelDim,
    maxLength: config.size(['n_positions', 'max_position_embeddings'], 1024),
    embeddings: {
      tokens: { name: 'embeddings.word_embeddings.weight', rows: vocabulary, width: modelDim },
      positions: null,
      types:
        types === 0
          ? null
          : {
              name: 'embeddings.token_type_embeddings.weight',
              rows: config.size('type_vocab_size', 2),
              width: modelDim,
            },
      norm: layerNormSpec('emb_ln', modelDim, epsilon),
    },
    blocks: blocksOf(config, modelDim, epsilon),
    finalNorm: null,
    head: null,
  }
}

/** The table has whole multiples of `pad_vocab_size_multiple` rows. */
function paddedVocabulary(config: ModelConfig): number {
  const multiple = config.size('pad_vocab_size_multiple', 1)
  return Math.ceil(config.size('vocab_size') / multiple) * multiple
}

function blocksOf(config: ModelConfig, modelDim: number, epsilon: number): BlockSpec[] {
  const heads = config.size(['n_head', 'num_attention_heads'])
  const headSize = evenHeadSize(config, modelDim, heads)
  const bias = config.flag('qkv_proj_bias', true)
  const rotary = rotaryOf(config, headSize)
  const feedForward = feedForwardOf(config, modelDim)
  return Array.from({ length: config.layers('n_layer', 'num_hidden_layers') }, (_, index) => {
    const name = `encoder.layers.${index}`
    const joined = joinedProjections(`${name}.attn.Wqkv`, { modelDim, heads, keyValueHeads: heads, headSize, bias })
    return {
      name,
      order: 'post',
      attention: {
        ...PLAIN_ATTENTION,
        heads,
        keyValueHeads: heads,
        headSize,
        ...joined,
        output: linearSpec(`${name}.attn.out_proj`, modelDim, modelDim, bias),
        rotary,
      },
      attentionNorm: layerNormSpec(`${name}.norm1`, modelDim, epsilon),
      feedForward: feedForward(name),
      feedForwardNorm: layerNormSpec(`${name}.norm2`, modelDim, epsilon),
    }
  })
}

function rotaryOf(config: ModelConfig, headSize: number): RotaryOptions | null {
  const fraction = (config.get('rotary_emb_fraction') as number | undefined) ?? 0
  const base = config.positive('rotary_emb_base', 10_000)
  const factor = config.get('rotary_scaling_factor')
  const trainedLength = config.size('max_trained_positions', 2048)
  if (fraction === 0) {
    config.refuse('rotary_emb_fraction 0 (supported: above 0 up to 1)')
    return null
  }
  return {
    base,
    size: Math.floor(headSize * fraction),
    ...(typeof factor === 'number' ? { scaling: { kind: 'dynamic' as const, factor, trainedLength } } : {}),
  }
}

/** Gates are rounded up to multiples of 256; plain layers are as wide as the config says. */
function feedForwardOf(config: ModelConfig, modelDim: number): (block: string) => FeedForwardSpec {
  const wide = config.size(['n_inner', 'intermediate_size'], 4 * modelDim)
  const [bias1, bias2] = [config.flag('mlp_fc1_bias', true), config.flag('mlp_fc2_bias', true)]
  const given = config.text(['activation_function', 'hidden_act'], 'gelu')
  const gated = { swiglu: 'silu', geglu: 'gelu' }[given] as FeedForwardSpec['activation'] | undefined
  if (gated === undefined) {
    const activation = activationOf(config, ['activation_function', 'hidden_act'], 'gelu')
    return (block) => ({
      gate: null,
      up: linearSpec(`${block}.mlp.fc1`, modelDim, wide, bias1),
      down: linearSpec(`${block}.mlp.fc2`, wide, modelDim, bias2),
      activation,
    })
  }
  const hidden = Math.ceil(wide / 256) * 256
  return (block) => ({
    gate: linearSpec(`${block}.mlp.fc12`, modelDim, hidden, bias1),
    up: linearSpec(`${block}.mlp.fc11`, modelDim, hidden, bias1),
    down: linearSpec(`${block}.mlp.fc2`, hidden, modelDim, bias2),
    activation: gated,
  })
}
