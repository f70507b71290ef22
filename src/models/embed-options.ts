import { checkBoolean, checkedSignal, checkInteger, checkNames, checkOneOf } from '../core/check.ts'
import { checkForward, type ForwardOptions } from '../nn/forward-options.ts'
import { TOO_LONG, type TooLong } from './pieces.ts'
import { POOLINGS, type Pooling } from './pooling.ts'

/** What `embed` and `embedStream` take. */
export interface EmbedOptions extends Pick<ForwardOptions, 'runtime' | 'signal' | 'priority' | 'chunkSize'> {
  /** @default what the model's files say; else the mean for encoders, the last token for decoders */
  readonly pooling?: Pooling
  /** Whether vectors are divided by their length. @default what the model's files say; else false */
  readonly normalize?: boolean
  /** What happens to texts with more tokens than the model has positions. @default 'error' */
  readonly onTooLong?: TooLong
  /** How many tokens of short texts go through the model at once; longer texts go alone. @default 8192 */
  readonly packTokens?: number
  /** Of a stream: how many texts are read ahead, to be sorted by length. @default 64 */
  readonly readAhead?: number
  /** Called after each pack. */
  readonly onProgress?: (progress: EmbedProgress) => void
}

/** How far a call of `embed` has come. */
export interface EmbedProgress {
  /** tokens that are done, and in all that were read so far */
  readonly doneTokens: number
  /** tokens of all texts that were read so far */
  readonly totalTokens: number
}

/** Options with their defaults. */
export interface ResolvedEmbedOptions {
  readonly pooling: Pooling
  readonly normalize: boolean
  readonly onTooLong: TooLong
  readonly packTokens: number
  readonly readAhead: number
  readonly onProgress: ((progress: EmbedProgress) => void) | undefined
  readonly forward: ForwardOptions
}

const NAMES: readonly (keyof EmbedOptions)[] = [
  'pooling',
  'normalize',
  'onTooLong',
  'packTokens',
  'readAhead',
  'onProgress',
  'runtime',
  'signal',
  'priority',
  'chunkSize',
]

/** @throws {OptionError} for unknown names and wrong values */
export function resolveEmbedOptions(
  options: EmbedOptions,
  defaults: { readonly pooling: Pooling; readonly normalize: boolean },
): ResolvedEmbedOptions {
  options = checkNames('embed: options', options, NAMES)
  const {
    pooling = defaults.pooling,
    normalize = defaults.normalize,
    onTooLong = 'error',
    packTokens = 8192,
    readAhead = 64,
    onProgress,
    ...forward
  } = options
  checkOneOf('embed: option pooling', pooling, POOLINGS)
  checkBoolean('embed: option normalize', normalize)
  checkOneOf('embed: option onTooLong', onTooLong, TOO_LONG)
  checkInteger('embed: option packTokens', packTokens, 1)
  checkInteger('embed: option readAhead', readAhead, 1)
  checkedSignal('embed: option signal', options.signal)
  checkForward('embed', forward)
  return { pooling, normalize, onTooLong, packTokens, readAhead, onProgress, forward }
}
