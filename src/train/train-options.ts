import type { Runtime } from '../attention/runtime.ts'
import { checkBoolean, checkedSignal, checkFunction, checkInteger, checkNames, expected } from '../core/check.ts'
import { OptionError } from '../core/errors.ts'
import { seedWords, type Seed } from '../core/seed.ts'
import { Module, type AnyModule } from '../nn/module.ts'
import { checkLimit } from './clip.ts'
import { checkList, checkSource, type BatchList, type BatchSource } from './data-source.ts'
import { checkLoss, type Loss } from './losses.ts'
import { Optimizer } from './optimizers/optimizer.ts'
import { constant, type Schedule } from './schedules.ts'

/** How a run is evaluated on held-out batches. */
export interface EvaluateOptions {
  /** Steps between two evaluations; there is one more after the last of `steps`. */
  readonly every: number
  /** held-out batches; the loss over all their targets is what counts */
  readonly data: BatchList
  /** The run ends after so many evaluations in a row without a smaller loss than the best. @default it does not */
  readonly patience?: number
  /**
   * Whether the model has its best parameters, rather than its last, once the run has ended by itself. @default false
   */
  readonly keepBest?: boolean
}

/** When and where a run saves checkpoints. */
export interface CheckpointOptions {
  /** Steps between two checkpoints; there is one more after the last of `steps`. */
  readonly every: number
  /** Takes the bytes of a safetensors file; the run goes on when it returns, or its promise has settled. */
  readonly save: (bytes: Uint8Array, step: number) => unknown
  /** strings to keep in every checkpoint, such as how the model was made */
  readonly metadata?: Readonly<Record<string, string>>
}

/** What `train` takes. */
export interface TrainOptions {
  /**
   * An iterable is drawn from, and the run ends with it; a function makes the batch of any number (from 0). A resumed
   * run draws and drops what the iterable gave before, while a function is asked for the next batch at once.
   */
  readonly data: BatchSource
  /** Made by `crossEntropy` or `meanSquaredError`. */
  readonly loss: Loss
  /** of the model's parameters, or of some */
  readonly optimizer: Optimizer
  /** The run ends after this step, a resumed run's earlier steps included. @default it ends with the data */
  readonly steps?: number
  /** Batches per step; gradients are averaged over all of their targets. @default 1 */
  readonly accumulate?: number
  /** @default each group's own learning rate */
  readonly schedule?: Schedule
  /** Gradients with a larger norm are scaled down to it. @default none */
  readonly clipNorm?: number
  /** Of dropout: each batch of each step has its own numbers. @default 0 */
  readonly seed?: Seed
  /** Names of the parameters to train. @default those of the optimizer */
  readonly only?: readonly string[]
  /** Whether a loss or gradients that are not finite skip the step rather than end the run. @default false */
  readonly skipNonFinite?: boolean
  /** Measures the loss on held-out batches from time to time. @default never */
  readonly evaluate?: EvaluateOptions
  /** Saves the run from time to time. @default never */
  readonly checkpoint?: CheckpointOptions
  /** A checkpoint of the same run: it goes on after the checkpoint's step, with the same bits. */
  readonly resume?: Uint8Array
  /** Whether `resume` takes a checkpoint of other hyperparameters, data order or seed. @default false */
  readonly allowChangedOptions?: boolean
  /** @default the runtime that `attention` shares */
  readonly runtime?: Runtime
  /** Ends the run with the signal's reason; the model is left after its last whole step. */
  readonly signal?: AbortSignal
}

/** Options with their defaults filled in. */
export interface ResolvedTraining extends Required<
  Omit<TrainOptions, 'clipNorm' | 'evaluate' | 'checkpoint' | 'resume' | 'runtime' | 'signal'>
> {
  readonly clipNorm: number | undefined
  readonly evaluate: (EvaluateOptions & { readonly patience: number; readonly keepBest: boolean }) | undefined
  readonly checkpoint: CheckpointOptions | undefined
  readonly resume: Uint8Array | undefined
  readonly runtime: Runtime | undefined
  readonly signal: AbortSignal | undefined
}

const NAMES: readonly (keyof TrainOptions)[] = [
  ...([
    'data',
    'loss',
    'optimizer',
    'steps',
    'accumulate',
    'schedule',
    'clipNorm',
    'seed',
    'only',
    'skipNonFinite',
  ] as const),
  ...(['evaluate', 'checkpoint', 'resume', 'allowChangedOptions', 'runtime', 'signal'] as const),
]

/** @throws {OptionError} for unknown names, wrong values, and an optimizer of another model */
export function resolveTraining(model: AnyModule, options: TrainOptions): ResolvedTraining {
  if (!(model instanceof Module)) throw expected('train: model', 'a Module', model)
  options = checkNames('train: options', options, NAMES)
  const { data, loss, optimizer, clipNorm } = options
  const { steps = Infinity, accumulate = 1, schedule = constant(), seed = 0 } = options
  const { skipNonFinite = false, allowChangedOptions = false } = options
  checkSource(named('data'), data)
  checkLoss(named('loss'), loss)
  if (!(optimizer instanceof Optimizer)) throw expected(named('optimizer'), 'an optimizer, such as AdamW', optimizer)
  if (steps !== Infinity) checkInteger(named('steps'), steps, 1)
  checkInteger(named('accumulate'), accumulate, 1)
  checkFunction(named('schedule'), schedule)
  if (clipNorm !== undefined) checkLimit(named('clipNorm'), clipNorm)
  seedWords(named('seed'), seed)
  checkBoolean(named('skipNonFinite'), skipNonFinite)
  checkBoolean(named('allowChangedOptions'), allowChangedOptions)
  if (options.resume !== undefined && !(options.resume instanceof Uint8Array))
    throw expected(named('resume'), 'the bytes of a checkpoint', options.resume)
  const checked = { data, loss, optimizer, steps, accumulate, schedule, clipNorm, seed, skipNonFinite }
  return {
    ...checked,
    allowChangedOptions,
    signal: checkedSignal(named('signal'), options.signal),
    only: trainedNames(model, optimizer, options.only),
    evaluate: resolveEvaluation(options.evaluate),
    checkpoint: checkedCheckpoint(options.checkpoint),
    resume: options.resume,
    runtime: options.runtime,
  }
}

function named(option: string): string {
  return `train: option ${option}`
}

/** The parameters to train: the optimizer's, which must be the model's, or some of them. */
function trainedNames(model: AnyModule, optimizer: Optimizer, only: unknown): readonly string[] {
  const own = model.namedParameters()
  const foreign = [...optimizer.parameters]
    .filter(([name, parameter]) => own.get(name) !== parameter)
    .map(([name]) => name)
  if (foreign.length > 0)
    throw new OptionError(
      `${named('optimizer')}: expected one of the model's parameters under the model's names; ${foreign.join(', ')} ${foreign.length === 1 ? 'is' : 'are'} none of them`,
    )
  if (only === undefined) return [...optimizer.parameters.keys()]
  if (!Array.isArray(only)) throw expected(named('only'), 'an array of parameter names', only)
  const unknown = only.filter((name: unknown) => !optimizer.parameters.has(name as string))
  if (unknown.length > 0)
    throw new OptionError(
      `${named('only')}: expected names of the optimizer's parameters, got ${unknown.map((name) => JSON.stringify(name)).join(', ')}`,
    )
  if (only.length === 0) throw new OptionError(`${named('only')}: expected at least one name, got none`)
  return [...optimizer.parameters.keys()].filter((name) => only.includes(name))
}

function resolveEvaluation(evaluate: TrainOptions['evaluate']): ResolvedTraining['evaluate'] {
  if (evaluate === undefined) return undefined
  evaluate = checkNames(named('evaluate'), evaluate, ['every', 'data', 'patience', 'keepBest'])
  const { every, data, patience = Infinity, keepBest = false } = evaluate
  checkInteger(named('evaluate.every'), every, 1)
  checkList(named('evaluate.data'), data)
  if (patience !== Infinity) checkInteger(named('evaluate.patience'), patience, 1)
  checkBoolean(named('evaluate.keepBest'), keepBest)
  return { every, data, patience, keepBest }
}

function checkedCheckpoint(checkpoint: TrainOptions['checkpoint']): TrainOptions['checkpoint'] {
  if (checkpoint === undefined) return undefined
  checkpoint = checkNames(named('checkpoint'), checkpoint, ['every', 'save', 'metadata'])
  const { every, save, metadata = {} } = checkpoint
  checkInteger(named('checkpoint.every'), every, 1)
  checkFunction(named('checkpoint.save'), save)
  const strings: unknown = metadata
  if (
    typeof strings !== 'object' ||
    strings === null ||
    !Object.values(strings).every((value) => typeof value === 'string')
  )
    throw expected(named('checkpoint.metadata'), 'an object of strings', metadata)
  return { every, save, metadata }
}
