/** Which attention is timed: one row of the results. */
export interface BenchCase {
  readonly mode: 'standard' | 'chunked'
  /** M and N */
  readonly tokens: number
  readonly heads: number
  readonly headSize: number
  readonly causal: boolean
  readonly workers: number
}

/** What two modes have in common: they are timed in turns. */
export type BenchSetting = Omit<BenchCase, 'mode'>

export const MODES = ['standard', 'chunked'] as const

/** The name under which two runs find the same case again. */
export function caseKey({ mode, tokens, heads, headSize, causal, workers }: BenchCase): string {
  return `${mode} n=${tokens} H=${heads} D=${headSize} ${causal ? 'causal' : 'full'} workers=${workers}`
}

/** Every setting of a suite, the shortest sequences first. */
export function benchSettings(
  tokens: readonly number[],
  workers: readonly number[],
  heads: number,
  headSize: number,
): BenchSetting[] {
  return tokens.flatMap((count) =>
    workers.flatMap((lanes) =>
      [false, true].map((causal) => ({ tokens: count, heads, headSize, causal, workers: lanes })),
    ),
  )
}
