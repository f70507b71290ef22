import { FormatError } from '../../core/errors.ts'
import { describe } from '../../core/tensor.ts'
import { bert, roberta } from './bert.ts'
import { distilbert } from './distilbert.ts'
import type { Family } from './family.ts'
import { gpt2 } from './gpt2.ts'
import { jinaBert } from './jina-bert.ts'
import { llama, mistral, qwen2, qwen3 } from './llama.ts'
import { modernBert } from './modernbert.ts'
import { nomicBert } from './nomic-bert.ts'

const FAMILIES: readonly Family[] = [
  bert,
  roberta,
  distilbert,
  nomicBert,
  modernBert,
  jinaBert,
  gpt2,
  llama,
  mistral,
  qwen2,
  qwen3,
]

/** Every `model_type` that can be loaded. */
export const MODEL_TYPES: readonly string[] = [...new Set(FAMILIES.flatMap(({ modelTypes }) => modelTypes))]

/** @throws {FormatError} for a config without a `model_type`, or of another one than Heddle knows */
export function familyOf(config: Readonly<Record<string, unknown>>): Family {
  const type = config['model_type']
  if (typeof type !== 'string')
    throw new FormatError(`config.json: expected a model_type among ${MODEL_TYPES.join(', ')}, got ${describe(type)}`)
  const family = FAMILIES.find(({ modelTypes, accepts }) => modelTypes.includes(type) && (accepts?.(config) ?? true))
  if (family === undefined)
    throw new FormatError(`config.json: expected a model_type among ${MODEL_TYPES.join(', ')}, got ${describe(type)}`)
  return family
}
