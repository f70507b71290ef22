import { FormatError } from '../core/errors.ts'
import { parameterShapes, type Architecture } from './architecture.ts'
import type { Family } from './families/family.ts'
import { familyOf } from './families/index.ts'
import { ModelConfig } from './model-config.ts'
import { readJson, type ModelFiles } from './model-source.ts'

/** What a model will be, from its config alone. */
export interface ModelPlan {
  /** as `model_type` in config.json says */
  readonly family: string
  /** sizes and parameter names */
  readonly architecture: Architecture
  /** the longest text that its positions allow, in tokens */
  readonly maxLength: number
  /** how many numbers the model learned */
  readonly parameters: number
  /** of the parameters, as float32 */
  readonly parameterBytes: number
}

/** A config with what was made of it. */
export interface ReadPlan {
  readonly family: Family
  readonly plan: ModelPlan
  readonly config: Readonly<Record<string, unknown>>
}

/**
 * Reads `config.json`. @param ignoreConfig options in it that the caller takes responsibility for @throws {FormatError}
 * when it is not supported
 */
export async function readPlan(
  files: ModelFiles,
  { signal, ignoreConfig }: { readonly signal?: AbortSignal; readonly ignoreConfig?: readonly string[] },
): Promise<ReadPlan> {
  const parsed = await readJson(files, 'config.json', signal)
  if (parsed === null) throw new FormatError(`loadModel: expected config.json in ${files.place}, found none`)
  const reader = new ModelConfig(parsed)
  const config = parsed as Readonly<Record<string, unknown>>
  const family = familyOf(config)
  const architecture = family.architecture(reader)
  reader.finish(family.name, ignoreConfig)
  if (architecture.maxLength < 1)
    throw new FormatError(`config.json: expected room for a token among the positions, got ${architecture.maxLength}`)
  const parameters = [...parameterShapes(architecture).values()].reduce(
    (sum, shape) => sum + shape.reduce((product, size) => product * size, 1),
    0,
  )
  return {
    family,
    config,
    plan: {
      family: family.name,
      architecture,
      maxLength: architecture.maxLength,
      parameters,
      parameterBytes: 4 * parameters,
    },
  }
}
