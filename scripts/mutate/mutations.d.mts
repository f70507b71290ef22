/** A small fault, with the test files that must notice it. `from` occurs exactly once in its file. */
export interface Mutation {
  readonly what: string
  readonly file: string
  readonly from: string
  readonly to: string
  readonly tests: readonly string[]
}

export const MUTATIONS: readonly Mutation[]

/**
 * @param root of the checkout
 * @throws with every fault that cannot be put in any more, because the code has changed
 */
export function checkMutations(root: string): Promise<void>
