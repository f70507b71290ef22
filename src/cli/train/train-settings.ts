import type { OptionValues } from '../command.ts'
import { integerOption, positiveOption, stringOption } from '../option-values.ts'
import { UsageError } from '../usage-error.ts'

export const TASKS = ['names', 'text', 'copy', 'reverse', 'induction'] as const
export type TaskName = (typeof TASKS)[number]

/**
 * Everything that decides about a run, as plain data: a checkpoint holds it, so that a resumed run needs no options.
 */
export interface TrainSettings {
  readonly task: TaskName
  /** the user's own text; null for the task's */
  readonly file: string | null
  readonly tokens: 'characters' | 'words'
  readonly steps: number
  /** rows per batch, and tokens per row */
  readonly batch: number
  readonly length: number
  /** of copy, reverse and induction */
  readonly symbols: number
  /** of text: the share of rows that are random tokens, repeated */
  readonly repeats: number
  readonly seed: number
  readonly layers: number
  readonly heads: number
  readonly modelDim: number
  readonly positions: 'rotary' | 'sinusoidal' | 'learned'
  readonly dropout: number
  readonly learningRate: number
  readonly weightDecay: number
  readonly evaluateEvery: number
}

type Defaults = Omit<TrainSettings, 'task' | 'file' | 'seed' | 'tokens'>

/** Of each task: what it is trained with unless an option says otherwise. */
const DEFAULTS: Readonly<Record<TaskName, Defaults>> = {
  names: {
    steps: 800,
    batch: 8,
    length: 128,
    symbols: 0,
    repeats: 0,
    layers: 3,
    heads: 4,
    modelDim: 64,
    positions: 'rotary',
    dropout: 0.1,
    learningRate: 3e-3,
    weightDecay: 0.1,
    evaluateEvery: 100,
  },
  text: {
    steps: 500,
    batch: 1,
    length: 2048,
    symbols: 0,
    repeats: 0,
    layers: 3,
    heads: 3,
    modelDim: 96,
    positions: 'rotary',
    dropout: 0,
    learningRate: 3e-3,
    weightDecay: 0.1,
    evaluateEvery: 100,
  },
  copy: {
    steps: 200,
    batch: 64,
    length: 32,
    symbols: 16,
    repeats: 0,
    layers: 2,
    heads: 4,
    modelDim: 64,
    positions: 'rotary',
    dropout: 0,
    learningRate: 3e-3,
    weightDecay: 0.01,
    evaluateEvery: 50,
  },
  reverse: {
    steps: 200,
    batch: 64,
    length: 32,
    symbols: 16,
    repeats: 0,
    layers: 2,
    heads: 4,
    modelDim: 64,
    positions: 'sinusoidal',
    dropout: 0,
    learningRate: 3e-3,
    weightDecay: 0.01,
    evaluateEvery: 50,
  },
  induction: {
    steps: 1600,
    batch: 1,
    length: 1024,
    symbols: 32,
    repeats: 0,
    layers: 2,
    heads: 2,
    modelDim: 64,
    positions: 'rotary',
    dropout: 0,
    learningRate: 6e-3,
    weightDecay: 0.01,
    evaluateEvery: 100,
  },
}

/** Options that a resumed run takes from its checkpoint. */
export const SETTING_OPTIONS = [
  'task',
  'file',
  'tokens',
  'steps',
  'batch',
  'length',
  'symbols',
  'repeats',
  'seed',
  'layers',
  'heads',
  'model-size',
  'dropout',
  'learning-rate',
  'weight-decay',
  'evaluate-every',
] as const

/** @throws {UsageError} for values that do not fit */
export function readSettings(values: OptionValues): TrainSettings {
  const file = stringOption(values, 'file') ?? null
  const task = stringOption(values, 'task') ?? (file === null ? 'names' : 'text')
  if (!isTask(task)) throw new UsageError(`--task: expected one of ${TASKS.join(', ')}, got '${task}'`)
  if (file !== null && task !== 'text') throw new UsageError(`--file: expected it with --task text, got --task ${task}`)
  if (values['repeats'] !== undefined && task !== 'text')
    throw new UsageError(`--repeats: expected it with --task text, got --task ${task}`)
  const tokens = stringOption(values, 'tokens') ?? 'characters'
  if (tokens !== 'characters' && tokens !== 'words')
    throw new UsageError(`--tokens: expected characters or words, got '${tokens}'`)
  const defaults = DEFAULTS[task]
  const steps = integerOption(values, 'steps', 1) ?? defaults.steps
  const settings: TrainSettings = {
    ...{ ...defaults, task, file, tokens, steps },
    batch: integerOption(values, 'batch', 1) ?? defaults.batch,
    length: integerOption(values, 'length', 2) ?? defaults.length,
    symbols: integerOption(values, 'symbols', 2) ?? defaults.symbols,
    repeats: shareOption(values, 'repeats') ?? defaults.repeats,
    seed: integerOption(values, 'seed', 0) ?? 0,
    layers: integerOption(values, 'layers', 1, 1000) ?? defaults.layers,
    heads: integerOption(values, 'heads', 1) ?? defaults.heads,
    modelDim: integerOption(values, 'model-size', 1) ?? defaults.modelDim,
    dropout: shareOption(values, 'dropout') ?? defaults.dropout,
    learningRate: positiveOption(values, 'learning-rate') ?? defaults.learningRate,
    weightDecay: decayOption(values, 'weight-decay') ?? defaults.weightDecay,
    evaluateEvery: integerOption(values, 'evaluate-every', 1) ?? Math.min(defaults.evaluateEvery, steps),
  }
  if (settings.modelDim % settings.heads !== 0)
    throw new UsageError(`--model-size: expected a multiple of the ${settings.heads} heads, got ${settings.modelDim}`)
  return settings
}

export function isTask(name: string): name is TaskName {
  return (TASKS as readonly string[]).includes(name)
}

function decayOption(values: OptionValues, name: string): number | undefined {
  return stringOption(values, name)?.trim() === '0' ? 0 : positiveOption(values, name)
}

function shareOption(values: OptionValues, name: string): number | undefined {
  const text = stringOption(values, name)
  if (text === undefined) return undefined
  const share = text.trim() === '' ? NaN : Number(text)
  if (!(share >= 0 && share < 1)) throw new UsageError(`--${name}: expected a number from 0, below 1, got '${text}'`)
  return share
}
