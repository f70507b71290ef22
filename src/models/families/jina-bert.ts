import type { Architecture, BlockSpec } from '../architecture.ts'
import type { ModelConfig } from '../model-config.ts'
import { bertAttention, ENCODER_EXTRAS, oldNormNames, refuseDecoders } from './bert.ts'
import { layerNormSpec, linearSpec, type Family } from './family.ts'

/**
 * JinaBERT (Günther et al. 2023): BERT with ALiBi in both directions and a gated feed-forward layer. The hub's configs
 * call it `bert`, with `position_embedding_type` "alibi".
 */
export const jinaBert: Family = {
  name: 'jina_bert_v2',
  modelTypes: ['bert', 'jina_bert_v2', 'jina_bert'],
  accepts: ({ position_embedding_type: kind, model_type: type }) => type !== 'bert' || kind === 'alibi',
  prefixes: ['bert.'],
  rename: oldNormNames,
  unused: ENCODER_EXTRAS,
  pooling: 'mean',
  architecture,
}

function architecture(config: ModelConfig): Architecture {
  config.only('position_embedding_type', 'alibi')
  refuseDecoders(config)
  const modelDim = config.size('hidden_size')
  const epsilon = config.positive('layer_norm_eps', 1e-12)
  const vocabulary = config.size('vocab_size')
  return {
    vocabulary,
    modelDim,
    maxLength: config.size('max_position_embeddings', 8192),
    embeddings: {
      tokens: { name: 'embeddings.word_embeddings.weight', rows: vocabulary, width: modelDim },
      positions: null,
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
  const type = config.text('feed_forward_type', 'original')
  if (type !== 'geglu' && type !== 'reglu')
    config.refuse(`feed_forward_type ${JSON.stringify(type)} (supported: "geglu", "reglu")`)
  config.only('hidden_act', 'gelu')
  const attention = bertAttention(config, modelDim)
  const alibiSlopes = Float32Array.from(headSlopes(config.size('num_attention_heads')))
  return Array.from({ length: config.layers('num_hidden_layers') }, (_, index) => {
    const name = `encoder.layer.${index}`
    const gated = (rowStart: number) => ({
      ...linearSpec(`${name}.mlp.gated_layers`, modelDim, hidden, false),
      part: { rowStart, ofRows: 2 * hidden },
    })
    return {
      name,
      order: 'post',
      attention: { ...attention(name), alibiSlopes },
      attentionNorm: layerNormSpec(`${name}.attention.output.LayerNorm`, modelDim, epsilon),
      feedForward: {
        gate: gated(0),
        up: gated(hidden),
        down: linearSpec(`${name}.mlp.wo`, hidden, modelDim, true),
        activation: type === 'reglu' ? 'relu' : 'gelu',
      },
      feedForwardNorm: layerNormSpec(`${name}.mlp.layernorm`, modelDim, epsilon),
    }
  })
}

/**
 * A slope per head (Press et al. 2022): 2^(−8/n), 2^(−16/n), … for n heads, a power of two; else those of the next
 * smaller one, then every second of the next larger.
 */
export function headSlopes(heads: number): number[] {
  const power = 2 ** Math.floor(Math.log2(heads))
  const slopes = Array.from({ length: power }, (_, head) => 2 ** ((-8 * (head + 1)) / power))
  if (power === heads) return slopes
  return [
    ...slopes,
    ...headSlopes(2 * power)
      .filter((_, head) => head % 2 === 0)
      .slice(0, heads - power),
  ]
}
