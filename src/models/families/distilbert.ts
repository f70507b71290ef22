import { PLAIN_ATTENTION, type BlockSpec } from '../architecture.ts'
import type { ModelConfig } from '../model-config.ts'
import { oldNormNames, refuseDecoders } from './bert.ts'
import { activationOf, evenHeadSize, layerNormSpec, linearSpec, type Family } from './family.ts'

const EPSILON = 1e-12

/** Sanh et al. 2019. */
export const distilbert: Family = {
  name: 'distilbert',
  modelTypes: ['distilbert'],
  prefixes: ['distilbert.'],
  rename: oldNormNames,
  unused: [
    /^(vocab_transform|vocab_layer_norm|vocab_projector|pre_classifier|classifier|qa_outputs)\./,
    /(^|\.)position_ids$/,
  ],
  pooling: 'mean',
  architecture(config) {
    refuseDecoders(config)
    const modelDim = config.size(['dim', 'hidden_size'])
    const [vocabulary, rows] = [config.size('vocab_size'), config.size('max_position_embeddings', 512)]
    return {
      vocabulary,
      modelDim,
      maxLength: rows,
      embeddings: {
        tokens: { name: 'embeddings.word_embeddings.weight', rows: vocabulary, width: modelDim },
        positions: { name: 'embeddings.position_embeddings.weight', rows, width: modelDim, offset: 0 },
        types: null,
        norm: layerNormSpec('embeddings.LayerNorm', modelDim, EPSILON),
      },
      blocks: blocksOf(config, modelDim),
      finalNorm: null,
      head: null,
    }
  },
}

function blocksOf(config: ModelConfig, modelDim: number): BlockSpec[] {
  const heads = config.size(['n_heads', 'num_attention_heads'])
  const headSize = evenHeadSize(config, modelDim, heads)
  const hidden = config.size('hidden_dim', 4 * modelDim)
  const activation = activationOf(config, ['activation'], 'gelu')
  return Array.from({ length: config.layers('n_layers', 'num_hidden_layers') }, (_, index) => {
    const name = `transformer.layer.${index}`
    const linear = (part: string) => linearSpec(`${name}.attention.${part}`, modelDim, modelDim, true)
    return {
      name,
      order: 'post',
      attention: {
        ...PLAIN_ATTENTION,
        heads,
        keyValueHeads: heads,
        headSize,
        query: linear('q_lin'),
        key: linear('k_lin'),
        value: linear('v_lin'),
        output: linear('out_lin'),
      },
      attentionNorm: layerNormSpec(`${name}.sa_layer_norm`, modelDim, EPSILON),
      feedForward: {
        gate: null,
        up: linearSpec(`${name}.ffn.lin1`, modelDim, hidden, true),
        down: linearSpec(`${name}.ffn.lin2`, hidden, modelDim, true),
        activation,
      },
      feedForwardNorm: layerNormSpec(`${name}.output_layer_norm`, modelDim, EPSILON),
    }
  })
}
