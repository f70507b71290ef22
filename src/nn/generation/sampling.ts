import { exactExp } from '../../core/elementary.ts'
import { philoxWords, type SeedWords } from '../../core/philox.ts'

export interface SamplingRule {
  /** 0 takes the largest logit, the lowest token on ties */
  readonly temperature: number
  /** only the k largest logits count; 0 is all of them */
  readonly topK: number
  /** only the likeliest tokens count that together reach this probability; 1 is all of them */
  readonly topP: number
  readonly seed: SeedWords | null
}

/**
 * The next token out of one row of logits: divided by the temperature, then the k largest, then of these the likeliest
 * that reach `topP` (Holtzman et al. 2020, nucleus sampling). The same seed, position and row give the same token.
 */
export function sampleToken(logits: Float32Array, rule: SamplingRule, position: number, batch: number): number {
  if (rule.temperature === 0 || rule.seed === null) return largestIndex(logits)
  const candidates = strongest(logits, rule.topK)
  const largest = logits[candidates[0] ?? 0] ?? 0
  const powers = nucleus(
    candidates.map((token) => exactExp(((logits[token] ?? 0) - largest) / rule.temperature)),
    rule.topP,
  )
  const words = new Uint32Array(4)
  philoxWords(words, rule.seed, position, batch, 0, 0xfffffffe)
  let left = ((words[0] ?? 0) / 2 ** 32) * sumOf(powers)
  for (const [index, power] of powers.entries()) {
    left -= power
    if (left < 0) return candidates[index] ?? 0
  }
  return candidates[0] ?? 0
}

function largestIndex(logits: Float32Array): number {
  let best = 0
  for (let token = 1; token < logits.length; token++) if ((logits[token] ?? 0) > (logits[best] ?? 0)) best = token
  return best
}

/** Tokens by falling logit, equal ones by number. */
function strongest(logits: Float32Array, topK: number): number[] {
  const count = topK === 0 ? logits.length : Math.min(topK, logits.length)
  // Numbers alone sort much faster than tokens by their logits do.
  const least = count === logits.length ? -Infinity : (logits.slice().sort()[logits.length - count] ?? -Infinity)
  const candidates: number[] = []
  logits.forEach((logit, token) => {
    if (logit >= least) candidates.push(token)
  })
  return candidates.sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b).slice(0, count)
}

/** The first of some falling powers, as many as reach the share of their sum. */
function nucleus(powers: readonly number[], topP: number): readonly number[] {
  if (topP >= 1) return powers
  let left = topP * sumOf(powers)
  const count = powers.findIndex((power) => (left -= power) <= 0) + 1
  return count === 0 ? powers : powers.slice(0, count)
}

function sumOf(powers: readonly number[]): number {
  return powers.reduce((sum, power) => sum + power, 0)
}
