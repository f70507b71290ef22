import { FormatError } from '../core/errors.ts'
import { isSize } from '../core/integers.ts'
import { describe, type Tensor, type TensorData } from '../core/tensor.ts'
import type { StateDict } from '../nn/module.ts'
import { readSafetensors, writeSafetensors } from '../nn/state/safetensors.ts'
import type { ByteSource } from '../nn/state/byte-reader.ts'
import type { BestLoss } from './evaluation.ts'
import type { OptimizerState } from './optimizers/optimizer-state.ts'

/** How far a run has come. */
export interface Progress {
  /** steps made */
  readonly step: number
  /** batches drawn from the data */
  readonly batches: number
  /** the step after which the last evaluation was made, 0 for none */
  readonly evaluatedStep: number
  /** the smallest loss so far; null before the first evaluation */
  readonly best: BestLoss | null
  /** evaluations since the best one */
  readonly sinceBest: number
}

/** What a checkpoint holds. */
export interface Checkpoint {
  /** for `model.loadStateDict` */
  readonly parameters: StateDict
  /** for `optimizer.loadStateDict` */
  readonly optimizer: OptimizerState
  /** the parameters of the best evaluation, where the run keeps them */
  readonly bestParameters: StateDict | null
  /** how far the run had come */
  readonly progress: Progress
  /** loss, hyperparameters and seed of the run */
  readonly run: unknown
  /** the strings of `checkpoint.metadata` */
  readonly metadata: Readonly<Record<string, string>>
}

const FORMAT = 'heddle-checkpoint/1'
/** How the file's tensors are called, by what they belong to. */
const PREFIXES = { parameters: 'model.', optimizer: 'optimizer.', bestParameters: 'best.' } as const

/** The bytes of a safetensors file; equal contents give equal bytes. Nothing in it depends on time or machine. */
export function writeCheckpoint({
  parameters,
  optimizer,
  bestParameters,
  progress,
  run,
  metadata,
}: Checkpoint): Uint8Array {
  const tensors = Object.fromEntries([
    ...prefixed(PREFIXES.parameters, parameters),
    ...prefixed(PREFIXES.optimizer, optimizer),
    ...prefixed(PREFIXES.bestParameters, bestParameters ?? {}),
  ])
  const strings = {
    format: FORMAT,
    progress: JSON.stringify(progress),
    run: JSON.stringify(run),
    metadata: JSON.stringify(metadata),
  }
  return writeSafetensors(tensors, strings)
}

/**
 * Reads a checkpoint of `train`: to resume, or for the parameters alone.
 *
 * @param source the file's bytes, or where to read them
 * @throws {FormatError} when the file is malformed, ends early, or is no checkpoint
 *
 * @example
 * ```js
 * import { CausalLanguageModel } from 'heddle/nn'
 * import { AdamW, copyTask, crossEntropy, readCheckpoint, train } from 'heddle/train'
 *
 * const model = new CausalLanguageModel({ vocabulary: 9, modelDim: 16, heads: 2, layers: 1, seed: 1 })
 * const options = {
 *   data: copyTask({ batch: 2, length: 8, symbols: 8 }),
 *   loss: crossEntropy(),
 *   optimizer: new AdamW(model),
 *   steps: 4,
 * }
 * let saved
 * for await (const _ of train(model, { ...options, checkpoint: { every: 2, save: (bytes) => (saved = bytes) } }));
 * const { parameters, progress } = await readCheckpoint(saved)
 * model.loadStateDict(parameters)
 * console.log(progress.step) // 4
 * ```
 */
export async function readCheckpoint(source: ByteSource): Promise<Checkpoint> {
  const { tensors, metadata } = await readSafetensors(source)
  if (metadata['format'] !== FORMAT)
    throw new FormatError(`checkpoint: expected a file of format ${FORMAT}, got ${describe(metadata['format'])}`)
  const known = Object.values(PREFIXES)
  const stray = Object.keys(tensors).filter((name) => !known.some((prefix) => name.startsWith(prefix)))
  if (stray.length > 0)
    throw new FormatError(`checkpoint: expected tensors of ${known.join(', ')}, got ${stray.join(', ')}`)
  const best = unprefixed(PREFIXES.bestParameters, tensors)
  return {
    parameters: floats(unprefixed(PREFIXES.parameters, tensors)),
    optimizer: unprefixed(PREFIXES.optimizer, tensors),
    bestParameters: Object.keys(best).length === 0 ? null : floats(best),
    progress: checkedProgress(parsed('progress', metadata)),
    run: parsed('run', metadata),
    metadata: checkedStrings(parsed('metadata', metadata)),
  }
}

function prefixed(
  prefix: string,
  tensors: Readonly<Record<string, Tensor<TensorData>>>,
): [string, Tensor<TensorData>][] {
  return Object.entries(tensors).map(([name, { data, shape }]) => [prefix + name, { data, shape }])
}

function unprefixed(
  prefix: string,
  tensors: Readonly<Record<string, Tensor<TensorData>>>,
): Record<string, Tensor<TensorData>> {
  const own = Object.entries(tensors).filter(([name]) => name.startsWith(prefix))
  return Object.fromEntries(own.map(([name, tensor]) => [name.slice(prefix.length), tensor]))
}

function floats(tensors: Readonly<Record<string, Tensor<TensorData>>>): StateDict {
  const integers = Object.entries(tensors).filter(([, { data }]) => !(data instanceof Float32Array))
  if (integers.length > 0)
    throw new FormatError(
      `checkpoint: expected float32 parameters, got integers in ${integers.map(([name]) => name).join(', ')}`,
    )
  return tensors as StateDict
}

function parsed(name: string, metadata: Readonly<Record<string, string>>): unknown {
  try {
    return JSON.parse(metadata[name] ?? '') as unknown
  } catch (cause) {
    throw new FormatError(`checkpoint: expected JSON under ${name}, got ${describe(metadata[name])}`, { cause })
  }
}

function checkedProgress(value: unknown): Progress {
  const progress = value as Partial<Progress> | null
  const best: unknown = progress?.best
  const bestFits =
    best === null ||
    (typeof best === 'object' && typeof (best as BestLoss).loss === 'number' && isSize((best as BestLoss).step))
  const counters = [progress?.step, progress?.batches, progress?.evaluatedStep, progress?.sinceBest]
  if (!bestFits || !counters.every(isSize))
    throw new FormatError(
      `checkpoint: expected counters of a run under progress, got ${JSON.stringify(value).slice(0, 80)}`,
    )
  return progress as Progress
}

function checkedStrings(value: unknown): Readonly<Record<string, string>> {
  if (typeof value === 'object' && value !== null && Object.values(value).every((item) => typeof item === 'string'))
    return value as Record<string, string>
  throw new FormatError(`checkpoint: expected strings under metadata, got ${describe(value)}`)
}
