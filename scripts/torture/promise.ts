import type { Random } from '../../tests/support/random.ts'

/** Something that Heddle promises, and how one random case tries to break it. */
export interface Promised {
  readonly promise: string
  /** How long a case takes at most, where that is long: short runs leave it out. @default 1 */
  readonly seconds?: number
  /** how many cases a full run tries in any case, however long they take. @default 1 */
  readonly least?: number
  /** how many cases of a full run; it may end earlier, when its part of the budget is used */
  readonly most?: number
  /**
   * Tries one case.
   *
   * @returns milliseconds from the fault until everything had settled; null where there is nothing to settle
   * @throws when the promise is broken
   */
  readonly attempt: (random: Random) => Promise<number | null>
}

/** @throws with this message unless `condition` holds */
export function ensure(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message)
}

/** What a call came to: its bits, or the error that it was rejected with. */
export type Outcome = { readonly bits: string } | { readonly error: unknown }

export function outcomeOf(call: Promise<string>): Promise<Outcome> {
  return call.then(
    (bits) => ({ bits }),
    (error: unknown) => ({ error }),
  )
}

/** @throws unless it has these bits, or failed with one of these codes */
export function ensureOutcome(outcome: Outcome, bits: string, codes: readonly string[]): void {
  if ('bits' in outcome) return ensure(outcome.bits === bits, `expected bits ${bits}, got ${outcome.bits}`)
  const { code } = outcome.error as { readonly code?: unknown }
  ensure(
    typeof code === 'string' && codes.includes(code),
    `expected an error of ${codes.join(', ') || 'no kind'}, got ${String(outcome.error)}`,
  )
}

export function wait(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
