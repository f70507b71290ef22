import { PLAIN_ATTENTION, type Architecture, type BlockSpec } from '../architecture.ts'
import type { ModelConfig } from '../model-config.ts'
import { activationOf, evenHeadSize, layerNormSpec, linearSpec, type Family } from './family.ts'

/** Heads of tasks on top of encoders, and buffers. */
export const ENCODER_EXTRAS: readonly RegExp[] = [
  /^(cls|classifier|qa_outputs|lm_head|pooler|score|head|decoder)\./,
  /(^|\.)position_ids$/,
  /^embeddings\.token_type_ids$/,
]

/** Layer norms had other names in the first BERT checkpoints. */
export const oldNormNames = (name: string): string =>
  name.replace(/LayerNorm\.gamma$/, 'LayerNorm.weight').replace(/LayerNorm\.beta$/, 'LayerNorm.bias')

/** Devlin et al. 2019. */
export const bert: Family = {
  name: 'bert',
  modelTypes: ['bert'],
  accepts: ({ position_embedding_type: kind }) => kind !== 'alibi',
  prefixes: ['bert.'],
  rename: oldNormNames,
  unused: ENCODER_EXTRAS,
  pooling: 'mean',
  architecture: (config) => encoder(config, 0),
}

/** Liu et al. 2019, and Conneau et al. 2020: positions begin behind the id of the padding token. */
export const roberta: Family = {
  ...bert,
  name: 'roberta',
  modelTypes: ['roberta', 'xlm-roberta'],
  prefixes: ['roberta.'],
  architecture: (config) => encoder(config, ((config.get('pad_token_id') as number | undefined) ?? 1) + 1),
}

function encoder(config: ModelConfig, offset: number): Architecture {
  config.only('position_embedding_type', 'absolute')
  refuseDecoders(config)
  const modelDim = config.size('hidden_size')
  const epsilon = config.positive('layer_norm_eps', 1e-12)
  const [vocabulary, rows] = [config.size('vocab_size'), config.size('max_position_embeddings', 512)]
  return {
    vocabulary,
    modelDim,
    maxLength: rows - offset,
    embeddings: {
      tokens: { name: 'embeddings.word_embeddings.weight', rows: vocabulary, width: modelDim },
      positions: { name: 'embeddings.position_embeddings.weight', rows, width: modelDim, offset },
      types: {
        name: 'embeddings.token_type_embeddings.weight',
        rows: config.size('type_vocab_size', 2),
        width: modelDim,
      },
      norm: layerNormSpec('embeddings.LayerNorm', modelDim, epsilon),
    },
    blocks: blocksOf(config, modelDim, epsilon),
    finalNorm: null,
    head: null,
  }
}

function blocksOf(config: ModelConfig, modelDim: number, epsilon: number): BlockSpec[] {
  const hidden = config.size('intermediate_size', 4 * modelDim)
  const activation = activationOf(config, ['hidden_act'], 'gelu')
  const attention = bertAttention(config, modelDim)
  return Array.from({ length: config.layers('num_hidden_layers') }, (_, index) => {
    const name = `encoder.layer.${index}`
    return {
      name,
      order: 'post',
      attention: attention(name),
      attentionNorm: layerNormSpec(`${name}.attention.output.LayerNorm`, modelDim, epsilon),
      feedForward: {
        gate: null,
        up: linearSpec(`${name}.intermediate.dense`, modelDim, hidden, true),
        down: linearSpec(`${name}.output.dense`, hidden, modelDim, true),
        activation,
      },
      feedForwardNorm: layerNormSpec(`${name}.output.LayerNorm`, modelDim, epsilon),
    }
  })
}

/** BERT's attention under its names, in the block of a given name. */
export function bertAttention(config: ModelConfig, modelDim: number): (block: string) => BlockSpec['attention'] {
  const heads = config.size('num_attention_heads')
  const headSize = evenHeadSize(config, modelDim, heads)
  return (block) => {
    const linear = (name: string) => linearSpec(`${block}.attention.${name}`, modelDim, modelDim, true)
    return {
      ...PLAIN_ATTENTION,
      heads,
      keyValueHeads: heads,
      headSize,
      query: linear('self.query'),
      key: linear('self.key'),
      value: linear('self.value'),
      output: linear('output.dense'),
    }
  }
}

/** Options that would make something else of an encoder. */
export function refuseDecoders(config: ModelConfig): void {
  config.only('is_decoder', false)
  config.only('add_cross_attention', false)
  config.only('cross_attention_hidden_size')
  config.only('is_encoder_decoder', false)
  config.only('tie_encoder_decoder', false)
  config.only('tie_word_embeddings', true, false)
  refusePrunedHeads(config)
}

/** Pruned heads and quantised weights, which any config may name. */
export function refusePrunedHeads(config: ModelConfig): void {
  const pruned = config.get('pruned_heads')
  if (pruned !== undefined && pruned !== null && Object.keys(pruned).length > 0)
    config.refuse('pruned_heads (expected none)')
  config.only('quantization_config')
}
