import type { ModelConfig } from '../model-config.ts'
import { DECODER, decoderArchitecture, slidingWindows, type DecoderTraits } from './decoder.ts'
import type { Family } from './family.ts'

const bothBiases = (config: ModelConfig): { input: boolean; output: boolean } => {
  const bias = config.flag('attention_bias', false)
  return { input: bias, output: bias }
}

const family = (name: string, traits: DecoderTraits): Family => ({
  ...DECODER,
  name,
  modelTypes: [name],
  architecture: (config) => decoderArchitecture(config, traits),
})

/** Touvron et al. 2023; Grattafiori et al. 2024. */
export const llama = family('llama', {
  biases: bothBiases,
  headNorms: false,
  keyValueHeads: null,
  window: (config) => slidingWindows(config, null, () => false),
})

/** Jiang et al. 2023: a window over the last `sliding_window` keys in every layer. */
export const mistral = family('mistral', {
  biases: () => ({ input: false, output: false }),
  headNorms: false,
  keyValueHeads: 8,
  window: (config) => {
    const window = config.get('sliding_window') === undefined ? null : config.size('sliding_window')
    return slidingWindows(config, window, () => true)
  },
})

/** Windows in the layers from `max_window_layers` on, where `use_sliding_window` says so. */
const qwenWindow: DecoderTraits['window'] = (config) => {
  const used = config.flag('use_sliding_window', false)
  const size = config.get('sliding_window') === undefined ? null : config.size('sliding_window')
  const first = config.get('max_window_layers')
  return slidingWindows(config, used ? size : null, (layer) => layer >= (typeof first === 'number' ? first : 28))
}

/** Yang et al. 2024: biases on query, key and value. */
export const qwen2 = family('qwen2', {
  biases: () => ({ input: true, output: false }),
  headNorms: false,
  keyValueHeads: 32,
  window: qwenWindow,
})

/** Yang et al. 2025: norms over each head of queries and keys. */
export const qwen3 = family('qwen3', { biases: bothBiases, headNorms: true, keyValueHeads: 32, window: qwenWindow })
