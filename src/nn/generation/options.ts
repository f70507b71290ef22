import { checkFunction, checkInteger, checkNames, expected } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import { seedWords } from '../../core/seed.ts'
import { checkForward, FORWARD_NAMES, type ForwardOptions } from '../forward-options.ts'
import { checkReach, type TokenReach } from '../layers/token-reach.ts'
import { sampleToken, type SamplingRule } from './sampling.ts'

/** A token that was just chosen. */
export interface GeneratedToken {
  /** index of its sequence in the batch */
  readonly batch: number
  /** its index in its sequence: that of the first new one is the prompt's length */
  readonly position: number
  /** the token's id */
  readonly token: number
}

/** The sequence for which a sampler chooses the next token. */
export interface SampledRow {
  /** index of the sequence in the batch */
  readonly batch: number
  /** index of the token that is to be chosen */
  readonly position: number
  /** the prompt and what was chosen so far; a view that is only valid during the call */
  readonly tokens: Int32Array
}

export interface GenerateOptions extends Omit<ForwardOptions, 'chunkSize' | 'monitorNorms'>, TokenReach {
  /** How many tokens to add to each sequence at most. */
  readonly maxNewTokens: number
  /** 0 always takes the likeliest token; above, tokens are drawn, and `seed` is needed. @default 0 */
  readonly temperature?: number
  /** Draw among the k likeliest only. @default all */
  readonly topK?: number
  /**
   * Draw among the likeliest tokens that together reach this probability, above 0 and up to 1; of the k likeliest with
   * `topK`. @default 1
   */
  readonly topP?: number
  /** A sequence ends with this token. In a tensor of results it fills the sequence's rest while others go on. */
  readonly stopToken?: number
  /** A sequence ends with any of these; or one list for each sequence. In place of `stopToken`. */
  readonly stopTokens?: readonly number[] | readonly (readonly number[])[]
  /**
   * Chooses the next token itself, in place of temperature, topK and topP.
   *
   * @param logits [vocabulary], its own to change
   */
  readonly sample?: (logits: Float32Array, row: SampledRow) => number
  /** Called with each token as it is chosen. */
  readonly onToken?: (token: GeneratedToken) => void
}

const NAMES = [
  'maxNewTokens',
  'temperature',
  'topK',
  'topP',
  'stopToken',
  'stopTokens',
  'sample',
  'onToken',
  'window',
  'sinks',
]
const SAMPLING_NAMES = ['temperature', 'topK', 'topP'] as const

/** Options after all checks. */
export interface Generation {
  readonly maxNewTokens: number
  readonly choose: (logits: Float32Array, row: SampledRow) => number
  /** whether a sequence ends with a token */
  readonly stops: (token: number, batch: number) => boolean
  readonly onToken: GenerateOptions['onToken']
  readonly reach: TokenReach
  readonly forward: ForwardOptions
}

/** @throws {OptionError} for unknown names, wrong values, and options that exclude each other */
export function resolveGeneration(given: GenerateOptions, vocabulary: number, batch: number): Generation {
  const options = checkNames('generate: options', given, [...FORWARD_NAMES, ...NAMES])
  const { maxNewTokens, onToken, window, sinks } = options
  const reach = { ...(window === undefined ? {} : { window }), ...(sinks === undefined ? {} : { sinks }) }
  const entries = Object.entries(options).filter(
    ([name, value]) => name !== 'seed' && value !== undefined && (FORWARD_NAMES as readonly string[]).includes(name),
  )
  const forward = Object.fromEntries(entries) as ForwardOptions
  checkForward('generate', forward)
  checkInteger('generate: option maxNewTokens', maxNewTokens, 1)
  if (onToken !== undefined) checkFunction('generate: option onToken', onToken)
  checkReach('generate', reach)
  return {
    maxNewTokens,
    choose: chooserOf(options, vocabulary),
    stops: stopsOf(options, vocabulary, batch),
    onToken,
    reach,
    forward,
  }
}

function chooserOf(options: GenerateOptions, vocabulary: number): Generation['choose'] {
  const { sample } = options
  if (sample === undefined) {
    const rule = samplingRule(options)
    return (logits, { position, batch }) => sampleToken(logits, rule, position, batch)
  }
  checkFunction('generate: option sample', sample)
  const other = SAMPLING_NAMES.find((name) => options[name] !== undefined)
  if (other !== undefined) throw new OptionError(`generate: expected option sample or ${other}, got both`)
  return (logits, row) => {
    const token: unknown = sample(logits, row)
    checkInteger(
      `generate: option sample: its result for batch ${row.batch}, position ${row.position}`,
      token,
      0,
      vocabulary - 1,
    )
    return token
  }
}

function samplingRule({ temperature = 0, topK = 0, topP = 1, seed }: GenerateOptions): SamplingRule {
  if (typeof temperature !== 'number' || !(temperature >= 0 && temperature < Infinity))
    throw expected('generate: option temperature', 'a number ≥ 0', temperature)
  checkInteger('generate: option topK', topK, 0)
  if (typeof topP !== 'number' || !(topP > 0 && topP <= 1))
    throw expected('generate: option topP', 'a number above 0 and up to 1', topP)
  if (temperature > 0 && seed === undefined)
    throw new OptionError('generate: expected option seed with a temperature above 0, got none')
  return { temperature, topK, topP, seed: seed === undefined ? null : seedWords('generate: option seed', seed) }
}

function stopsOf({ stopToken, stopTokens }: GenerateOptions, vocabulary: number, batch: number): Generation['stops'] {
  const check = (name: string, token: unknown): void =>
    checkInteger(`generate: option ${name}`, token, 0, vocabulary - 1)
  if (stopToken !== undefined) {
    if (stopTokens !== undefined) throw new OptionError('generate: expected option stopToken or stopTokens, got both')
    check('stopToken', stopToken)
    return (token) => token === stopToken
  }
  if (stopTokens === undefined) return () => false
  if (!Array.isArray(stopTokens))
    throw expected('generate: option stopTokens', 'a list of tokens, or one list per sequence', stopTokens)
  const perRow = stopTokens.some((entry) => Array.isArray(entry))
  const lists = (perRow ? stopTokens : [stopTokens]) as readonly (readonly number[])[]
  if (perRow && lists.length !== batch)
    throw new OptionError(`generate: option stopTokens: expected ${batch} lists, one per sequence, got ${lists.length}`)
  lists.forEach((list, b) => {
    if (!Array.isArray(list)) throw expected(`generate: option stopTokens ${b}`, 'a list of tokens', list)
    list.forEach((token) => check(perRow ? `stopTokens ${b}` : 'stopTokens', token))
  })
  return (token, b) => (lists[perRow ? b : 0] ?? []).includes(token)
}
