import { bundlerCases } from './bundler-cases.mjs'
import { hostCases } from './host-cases.mjs'
import { pageCases } from './page-cases.mjs'
import { typesCases } from './types-cases.mjs'

/**
 * The matrix: a title for each group of cases. A case has a `name`; `how` it is made to work; what to `expect` (workers,
 * unless it says otherwise); whether the `quick` selection has it; and `run`, which gives a result of `call.mjs`.
 */
export const GROUPS = {
  'Bundlers and frameworks': bundlerCases,
  Pages: pageCases,
  'Servers and test runners': hostCases,
  TypeScript: typesCases,
}
