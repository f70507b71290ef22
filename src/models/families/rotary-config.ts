import type { RotaryOptions, RotaryScaling } from '../../nn/layers/rotary-frequencies.ts'
import type { ModelConfig } from '../model-config.ts'

/** What a config says of rotary positions, and how long sequences may be with them. */
export interface RotaryConfig {
  readonly rotary: RotaryOptions
  readonly maxLength: number
}

/**
 * `rope_theta`, `rope_scaling` and `partial_rotary_factor`, or `rope_parameters` that hold all of them. A scaling
 * without an original length is one of `max_position_embeddings`.
 */
export function rotaryConfig(config: ModelConfig, headSize: number): RotaryConfig {
  const positions = config.size('max_position_embeddings')
  const parameters = config.part('rope_parameters')
  const scalings = config.part('rope_scaling')
  const base = parameters?.positive('rope_theta', 10_000) ?? config.positive('rope_theta', 10_000)
  if (parameters !== null) config.get('rope_theta')
  const fraction = parameters?.positive('partial_rotary_factor', 1) ?? config.positive('partial_rotary_factor', 1)
  const size = Math.floor(headSize * fraction)
  if (size < 2 || size > headSize || size % 2 !== 0)
    config.refuse(`rotary positions on ${size} of ${headSize} elements (expected an even number of them)`)
  const source = parameters ?? scalings
  const scaling = source === null ? null : scalingOf(source, config, positions)
  source?.finish('rotary positions')
  return {
    rotary: { base, size, ...(scaling === null ? {} : { scaling }) },
    maxLength: lengthOf(scaling, positions, source),
  }
}

function scalingOf(source: ModelConfig, config: ModelConfig, positions: number): RotaryScaling | null {
  const kind = source.text(['rope_type', 'type'], 'default')
  if (kind === 'default') return null
  const factor = source.positive('factor', 1)
  const trainedLength = source.size('original_max_position_embeddings', positions)
  switch (kind) {
    case 'linear':
    case 'ntk':
      return { kind, factor }
    case 'dynamic':
      return { kind, factor, trainedLength }
    case 'yarn':
      source.only('truncate', true)
      return { kind, factor, trainedLength, ...yarnOptions(source) }
    case 'llama3':
      return {
        kind,
        factor,
        trainedLength,
        lowFrequencyFactor: source.positive('low_freq_factor'),
        highFrequencyFactor: source.positive('high_freq_factor'),
      }
    default:
      config.refuse(`rope_scaling of type ${JSON.stringify(kind)} (supported: linear, ntk, dynamic, yarn, llama3)`)
      return null
  }
}

type YarnOptions = Pick<Extract<RotaryScaling, { kind: 'yarn' }>, 'betaFast' | 'betaSlow' | 'attentionFactor'>

function yarnOptions(source: ModelConfig): YarnOptions {
  const optional = (option: keyof YarnOptions, name: string): YarnOptions =>
    source.get(name) === undefined ? {} : { [option]: source.positive(name) }
  return {
    ...optional('betaFast', 'beta_fast'),
    ...optional('betaSlow', 'beta_slow'),
    ...optional('attentionFactor', 'attention_factor'),
  }
}

/** Scalings reach further than what a model was trained on. */
function lengthOf(scaling: RotaryScaling | null, positions: number, source: ModelConfig | null): number {
  if (scaling === null) return positions
  const original = source?.get('original_max_position_embeddings')
  if (scaling.kind === 'dynamic' || (typeof original === 'number' && scaling.kind !== 'llama3'))
    return Math.max(positions, Math.floor(scaling.factor * (typeof original === 'number' ? original : positions)))
  return positions
}
