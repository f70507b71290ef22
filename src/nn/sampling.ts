import { exactExp } from '../core/elementary.ts'
import { philoxWords, type SeedWords } from '../core/philox.ts'

export interface SamplingRule {
  /** 0 takes the largest logit, the lowest token on ties */
  readonly temperature: number
  /** only the k largest logits count; 0 is all of them */
  readonly topK: number
  readonly seed: SeedWords | null
}

/** The next token out of one row of logits. The same seed, position and row give the same token. */
export function sampleToken(logits: Float32Array, rule: SamplingRule, position: number, batch: number): number {
  if (rule.temperature === 0 || rule.seed === null) return largestIndex(logits)
  const candidates = strongest(logits, rule.topK)
  const largest = logits[candidates[0] ?? 0] ?? 0
  const powers = candidates.map((token) => exactExp(((logits[token] ?? 0) - largest) / rule.temperature))
  const words = new Uint32Array(4)
  philoxWords(words, rule.seed, position, batch, 0, 0xfffffffe)
  let left = ((words[0] ?? 0) / 2 ** 32) * powers.reduce((sum, power) => sum + power, 0)
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
  const order = Array.from(logits, (_, token) => token).sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b)
  return topK === 0 ? order : order.slice(0, topK)
}
