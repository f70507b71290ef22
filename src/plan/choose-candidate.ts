import { MemoryBudgetError } from '../core/errors.ts'
import { sumOfBytes, type BytesByPurpose, type Purpose } from '../core/ledger.ts'

/** A way to run a call, as far as memory is concerned. */
export interface Candidate {
  readonly bytes: BytesByPurpose
  /** the part that a memory budget limits: all but what the caller gets */
  readonly budgetedBytes: number
}

/** What a call may hold, and how its error speaks of that. */
export interface MemoryLimit {
  /** the call, for the message */
  readonly what: string
  readonly budgetBytes: number | undefined
  /** where the budget comes from: the option, or the machine's memory */
  readonly budgetSource: string
  /** bytes of kept buffers that the call has no use for */
  readonly keptBytes: number
  /** what the caller gets, which no budget counts */
  readonly results: readonly Purpose[]
  /** what else the caller may do; follows the message */
  readonly advice?: string
}

/** The bytes of a candidate, nothing listed at zero, with their sum. */
export interface ChosenBytes {
  readonly bytes: BytesByPurpose
  readonly totalBytes: number
  readonly budgetedBytes: number
}

/**
 * The first candidate within the budget. Kept buffers that it does not use stay where the budget has room for them;
 * else the call drops them.
 *
 * @param candidates from the fastest to the smallest
 * @throws {MemoryBudgetError} when none fits; says which budget would do
 */
export function chooseCandidate<C extends Candidate>(candidates: Iterable<C>, limit: MemoryLimit): C & ChosenBytes {
  const { budgetBytes = Infinity, keptBytes } = limit
  let smallest: C | undefined
  for (const candidate of candidates) {
    if (candidate.budgetedBytes + keptBytes <= budgetBytes) return chosen(candidate, keptBytes)
    if (candidate.budgetedBytes <= budgetBytes) return chosen(candidate, 0)
    if (smallest === undefined || candidate.budgetedBytes < smallest.budgetedBytes) smallest = candidate
  }
  throw overBudget(limit, smallest)
}

function chosen<C extends Candidate>(candidate: C, keptBytes: number): C & ChosenBytes {
  const all: BytesByPurpose = { ...candidate.bytes, 'kept buffers': keptBytes }
  const bytes = Object.fromEntries(Object.entries(all).filter(([, count]) => count > 0))
  return { ...candidate, bytes, totalBytes: sumOfBytes(bytes), budgetedBytes: candidate.budgetedBytes + keptBytes }
}

function overBudget(
  { what, budgetBytes, budgetSource, results, advice = '' }: MemoryLimit,
  smallest: Candidate | undefined,
): MemoryBudgetError {
  const needed = smallest?.budgetedBytes ?? 0
  const counted = Object.entries(smallest?.bytes ?? {}).filter(
    ([purpose, count]) => count > 0 && !results.includes(purpose as Purpose),
  )
  const list = counted.map(([purpose, count]) => `${purpose} ${count}`).join(', ')
  return new MemoryBudgetError(
    `${what}: expected ${budgetSource} of at least ${needed} bytes (${list}), got ${budgetBytes}${advice}`,
    {
      details: { smallestBudgetBytes: needed, budgetBytes, bytes: smallest?.bytes },
    },
  )
}
