import { joinedProjections, PLAIN_ATTENTION, type Architecture, type BlockSpec } from '../architecture.ts'
import type { ModelConfig } from '../model-config.ts'
import { refusePrunedHeads } from './bert.ts'
import { activationOf, evenHeadSize, layerNormSpec, linearSpec, type Family } from './family.ts'

/**
 * Warner et al. 2024: every third layer sees everything, the others a window; rotary positions with a base for each
 * kind.
 */
export const modernBert: Family = {
  name: 'modernbert',
  modelTypes: ['modernbert'],
  prefixes: ['model.'],
  unused: [/^(head|decoder|classifier|drop)\./],
  pooling: 'mean',
  architecture,
}

function architecture(config: ModelConfig): Architecture {
  refusePrunedHeads(config)
  config.only('tie_word_embeddings', true, false)
  config.only('position_embedding_type', 'absolute', 'sans_pos')
  const modelDim = config.size('hidden_size')
  const [epsilon, bias] = [config.positive(['norm_eps', 'layer_norm_eps'], 1e-5), config.flag('norm_bias', false)]
  const vocabulary = config.size('vocab_size')
  return {
    vocabulary,
    modelDim,
    maxLength: config.size('max_position_embeddings', 8192),
    embeddings: {
      tokens: { name: 'embeddings.tok_embeddings.weight', rows: vocabulary, width: modelDim },
      positions: null,
      types: null,
      norm: layerNormSpec('embeddings.norm', modelDim, epsilon, bias),
    },
    blocks: blocksOf(config, modelDim, (name) => layerNormSpec(name, modelDim, epsilon, bias)),
    finalNorm: layerNormSpec('final_norm', modelDim, epsilon, bias),
    head: null,
  }
}

function blocksOf(
  config: ModelConfig,
  modelDim: number,
  norm: (name: string) => NonNullable<BlockSpec['attentionNorm']>,
): BlockSpec[] {
  const heads = config.size('num_attention_heads')
  const headSize = evenHeadSize(config, modelDim, heads)
  const hidden = config.size('intermediate_size')
  const [attentionBias, bias] = [config.flag('attention_bias', false), config.flag('mlp_bias', false)]
  const activation = activationOf(config, ['hidden_activation'], 'gelu')
  const sight = sightOf(config)
  return Array.from({ length: config.layers('num_hidden_layers') }, (_, layer) => {
    const name = `layers.${layer}`
    const sizes = { heads, keyValueHeads: heads, headSize }
    const joined = joinedProjections(`${name}.attn.Wqkv`, { modelDim, ...sizes, bias: attentionBias })
    const gated = (rowStart: number) => ({
      ...linearSpec(`${name}.mlp.Wi`, modelDim, hidden, bias),
      part: { rowStart, ofRows: 2 * hidden },
    })
    const down = linearSpec(`${name}.mlp.Wo`, hidden, modelDim, bias)
    return {
      name,
      order: 'pre',
      attention: {
        ...PLAIN_ATTENTION,
        ...sizes,
        ...joined,
        output: linearSpec(`${name}.attn.Wo`, modelDim, modelDim, attentionBias),
        ...sight(layer),
      },
      attentionNorm: layer === 0 ? null : norm(`${name}.attn_norm`),
      feedForward: { gate: gated(0), up: gated(hidden), down, activation },
      feedForwardNorm: norm(`${name}.mlp_norm`),
    }
  })
}

/** How far a layer sees, and the base of its positions. */
function sightOf(config: ModelConfig): (layer: number) => Pick<BlockSpec['attention'], 'rotary' | 'window'> {
  const every = config.size('global_attn_every_n_layers', 3)
  const side = Math.floor(config.size('local_attention', 128) / 2)
  const parameters = config.part('rope_parameters')
  const base = (kind: string, name: string, fallback: number): number => {
    const given = config.get(name)
    const part = parameters?.part(kind) ?? null
    part?.only('rope_type', 'default')
    const found =
      part?.positive('rope_theta', fallback) ?? (typeof given === 'number' ? config.positive(name) : fallback)
    part?.finish('rotary positions')
    return found
  }
  const wide = base('full_attention', 'global_rope_theta', 160_000)
  const near = base('sliding_attention', 'local_rope_theta', 10_000)
  parameters?.finish('rotary positions')
  const types = config.get('layer_types')
  const isWide = (layer: number): boolean =>
    Array.isArray(types) ? types[layer] === 'full_attention' : layer % every === 0
  return (layer) =>
    isWide(layer)
      ? { rotary: { base: wide }, window: null }
      : { rotary: { base: near }, window: { before: side, after: side } }
}
