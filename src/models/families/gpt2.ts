import { joinedProjections, PLAIN_ATTENTION, type BlockSpec } from '../architecture.ts'
import type { ModelConfig } from '../model-config.ts'
import { refusePrunedHeads } from './bert.ts'
import { activationOf, evenHeadSize, layerNormSpec, linearSpec, type Family } from './family.ts'

/** Radford et al. 2019. Its linear layers are stored [in, out]. */
export const gpt2: Family = {
  name: 'gpt2',
  modelTypes: ['gpt2'],
  prefixes: ['transformer.'],
  transposed: /\.(c_attn|c_proj|c_fc)\.weight$/,
  unused: [/^(lm_head|score|classifier|multiple_choice_head)\./, /\.attn\.(bias|masked_bias)$/],
  pooling: 'last',
  architecture(config) {
    refusePrunedHeads(config)
    config.only('add_cross_attention', false)
    config.only('scale_attn_by_inverse_layer_idx', false)
    config.only('tie_word_embeddings', true)
    const modelDim = config.size(['n_embd', 'hidden_size'])
    const [vocabulary, rows] = [
      config.size('vocab_size'),
      config.size(['n_positions', 'max_position_embeddings'], 1024),
    ]
    const epsilon = config.positive('layer_norm_epsilon', 1e-5)
    return {
      vocabulary,
      modelDim,
      maxLength: rows,
      embeddings: {
        tokens: { name: 'wte.weight', rows: vocabulary, width: modelDim },
        positions: { name: 'wpe.weight', rows, width: modelDim, offset: 0 },
        types: null,
        norm: null,
      },
      blocks: blocksOf(config, modelDim, epsilon),
      finalNorm: layerNormSpec('ln_f', modelDim, epsilon),
      head: 'tied',
    }
  },
}

function blocksOf(config: ModelConfig, modelDim: number, epsilon: number): BlockSpec[] {
  const heads = config.size(['n_head', 'num_attention_heads'])
  const headSize = evenHeadSize(config, modelDim, heads)
  const hidden = config.size('n_inner', 4 * modelDim)
  const activation = activationOf(config, ['activation_function'], 'gelu_new')
  const scale = config.flag('scale_attn_weights', true) ? null : 1
  return Array.from({ length: config.layers('n_layer', 'num_hidden_layers') }, (_, index) => {
    const name = `h.${index}`
    const joined = joinedProjections(`${name}.attn.c_attn`, {
      modelDim,
      heads,
      keyValueHeads: heads,
      headSize,
      bias: true,
    })
    return {
      name,
      order: 'pre',
      attention: {
        ...PLAIN_ATTENTION,
        heads,
        keyValueHeads: heads,
        headSize,
        ...joined,
        output: linearSpec(`${name}.attn.c_proj`, modelDim, modelDim, true),
        causal: true,
        scale,
      },
      attentionNorm: layerNormSpec(`${name}.ln_1`, modelDim, epsilon),
      feedForward: {
        gate: null,
        up: linearSpec(`${name}.mlp.c_fc`, modelDim, hidden, true),
        down: linearSpec(`${name}.mlp.c_proj`, hidden, modelDim, true),
        activation,
      },
      feedForwardNorm: layerNormSpec(`${name}.ln_2`, modelDim, epsilon),
    }
  })
}
