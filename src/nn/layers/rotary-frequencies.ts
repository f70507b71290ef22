import { checkFinite, checkInteger, checkNames, expected } from '../../core/check.ts'
import { exactExp, exactLog } from '../../core/elementary.ts'
import { OptionError } from '../../core/errors.ts'

/** How rotary positions are stretched beyond the length that a model was trained on. */
export type RotaryScaling =
  /** positions divided by `factor` (Chen et al. 2023) */
  | {
      /** divides positions */
      readonly kind: 'linear'
      /** how many times longer sequences may be */
      readonly factor: number
    }
  /** the base times factor^(R/(R − 2)), for R turned elements ("NTK-aware") */
  | {
      /** raises the base */
      readonly kind: 'ntk'
      /** how many times longer sequences may be */
      readonly factor: number
    }
  /**
   * the same by the length n of the sequence: factor·n/trained − (factor − 1) in place of the factor, from
   * `trainedLength` on
   */
  | {
      /** raises the base with the sequence's length */
      readonly kind: 'dynamic'
      /** how many times longer sequences may be */
      readonly factor: number
      /** tokens per sequence in training */
      readonly trainedLength: number
    }
  /**
   * YaRN (Peng et al. 2023): fast pairs stay, slow ones are divided by `factor`, between them a ramp; cosines and sines
   * times `attentionFactor`
   */
  | {
      /** YaRN */
      readonly kind: 'yarn'
      /** how many times longer sequences may be */
      readonly factor: number
      /** tokens per sequence in training */
      readonly trainedLength: number
      /** @default 32 and 1, as in the paper */
      readonly betaFast?: number
      /** pairs that turn fewer times than this over the trained length are slow. @default 1 */
      readonly betaSlow?: number
      /** @default 0.1·ln(factor) + 1 */
      readonly attentionFactor?: number
    }
  /** Llama 3.1: the same idea with a ramp in wavelengths */
  | {
      /** as in Llama 3.1 */
      readonly kind: 'llama3'
      /** what slow pairs are divided by */
      readonly factor: number
      /** tokens per sequence in training */
      readonly trainedLength: number
      /** pairs that turn fewer times than this over the trained length are divided by `factor` */
      readonly lowFrequencyFactor: number
      /** pairs that turn more often than this over the trained length stay as they are */
      readonly highFrequencyFactor: number
    }

/** Rotary positions (Su et al. 2021). */
export interface RotaryOptions {
  /** @default 10000 */
  readonly base?: number
  /** R, how many elements of each head turn, from the first: even. @default the head size */
  readonly size?: number
  /** How positions beyond the trained length are treated. @default none */
  readonly scaling?: RotaryScaling
}

/** Options with their defaults. */
export interface ResolvedRotary {
  readonly base: number
  readonly size: number
  readonly scaling: RotaryScaling | null
}

/** The angle per position of each pair, and what cosines and sines are times. */
export interface RotaryFrequencies {
  readonly frequencies: Float64Array
  readonly amplitude: number
}

/** The names and the lowest values of each kind's numbers. */
const SCALING_NUMBERS: Readonly<
  Record<RotaryScaling['kind'], { readonly needed: readonly string[]; readonly optional?: readonly string[] }>
> = {
  linear: { needed: ['factor'] },
  ntk: { needed: ['factor'] },
  dynamic: { needed: ['factor', 'trainedLength'] },
  yarn: { needed: ['factor', 'trainedLength'], optional: ['betaFast', 'betaSlow', 'attentionFactor'] },
  llama3: { needed: ['factor', 'trainedLength', 'lowFrequencyFactor', 'highFrequencyFactor'] },
}

/** @param what names the option in messages @throws {OptionError} for unknown names and wrong values */
export function resolveRotaryOptions(what: string, options: RotaryOptions, headSize: number): ResolvedRotary {
  options = checkNames(what, options, ['base', 'size', 'scaling'])
  const { base = 10_000, size = headSize, scaling = null } = options
  checkFinite(`${what}: base`, base)
  if (base <= 0) throw expected(`${what}: base`, 'a base > 0', base)
  checkInteger(`${what}: size`, size, 2, headSize)
  if (size % 2 !== 0) throw new OptionError(`${what}: expected an even size, got ${size}`)
  if (scaling !== null) checkScaling(`${what}: scaling`, scaling)
  return { base, size, scaling }
}

function checkScaling(what: string, scaling: RotaryScaling): void {
  const kinds = Object.keys(SCALING_NUMBERS)
  const kind = (scaling as { kind?: unknown } | null)?.kind
  if (typeof kind !== 'string' || !kinds.includes(kind)) throw expected(`${what}: kind`, kinds.join(', '), kind)
  const { needed, optional = [] } = SCALING_NUMBERS[scaling.kind]
  scaling = checkNames(what, scaling, ['kind', ...needed, ...optional])
  for (const name of [...needed, ...optional]) {
    const value = (scaling as unknown as Record<string, unknown>)[name]
    if (value === undefined && optional.includes(name)) continue
    if (typeof value !== 'number' || !Number.isFinite(value) || value <= 0)
      throw expected(`${what}: ${name}`, 'a number > 0', value)
  }
}

/** Whether the angles depend on how long the sequence is. */
export function dependsOnLength({ scaling }: ResolvedRotary): boolean {
  return scaling?.kind === 'dynamic'
}

/** @param length of the longest sequence, which only dynamic scaling looks at */
export function rotaryFrequencies({ base, size, scaling }: ResolvedRotary, length: number): RotaryFrequencies {
  const plain = (from: number): Float64Array =>
    Float64Array.from({ length: size / 2 }, (_, c) => exactExp((-2 * c * exactLog(from)) / size))
  const stretched = (factor: number): number => base * exactExp((size / (size - 2)) * exactLog(factor))
  switch (scaling?.kind) {
    case undefined:
      return { frequencies: plain(base), amplitude: 1 }
    case 'linear':
      return { frequencies: plain(base).map((each) => each / scaling.factor), amplitude: 1 }
    case 'ntk':
      return { frequencies: plain(stretched(scaling.factor)), amplitude: 1 }
    case 'dynamic': {
      const { factor, trainedLength } = scaling
      return {
        frequencies:
          length <= trainedLength ? plain(base) : plain(stretched((factor * length) / trainedLength - (factor - 1))),
        amplitude: 1,
      }
    }
    case 'yarn':
      return yarn(plain(base), scaling, { base, size })
    case 'llama3':
      return { frequencies: plain(base).map((each) => llama3(each, scaling)), amplitude: 1 }
  }
}

function yarn(
  plain: Float64Array,
  scaling: Extract<RotaryScaling, { kind: 'yarn' }>,
  { base, size }: { readonly base: number; readonly size: number },
): RotaryFrequencies {
  const {
    factor,
    trainedLength,
    betaFast = 32,
    betaSlow = 1,
    attentionFactor = factor <= 1 ? 1 : 0.1 * exactLog(factor) + 1,
  } = scaling
  // The pair that turns so many times over the trained length.
  const pairOf = (turns: number): number =>
    (size * exactLog(trainedLength / (turns * 2 * Math.PI))) / (2 * exactLog(base))
  const low = Math.max(Math.floor(pairOf(betaFast)), 0)
  const high = Math.min(Math.ceil(pairOf(betaSlow)), size - 1)
  const width = high === low ? 0.001 : high - low
  const frequencies = plain.map((each, c) => {
    const ramp = Math.min(1, Math.max(0, (c - low) / width))
    return (each / factor) * ramp + each * (1 - ramp)
  })
  return { frequencies, amplitude: attentionFactor }
}

function llama3(
  frequency: number,
  { factor, trainedLength, lowFrequencyFactor, highFrequencyFactor }: Extract<RotaryScaling, { kind: 'llama3' }>,
): number {
  const turns = (trainedLength * frequency) / (2 * Math.PI)
  if (turns > highFrequencyFactor) return frequency
  if (turns < lowFrequencyFactor) return frequency / factor
  const smooth = (turns - lowFrequencyFactor) / (highFrequencyFactor - lowFrequencyFactor)
  return ((1 - smooth) * frequency) / factor + smooth * frequency
}
