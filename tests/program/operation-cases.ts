import { attentionCases } from './cases/attention-cases.ts'
import { elementwiseCases } from './cases/elementwise-cases.ts'
import { linearCases } from './cases/linear-cases.ts'
import { lossCases } from './cases/loss-cases.ts'
import { normCases } from './cases/norm-cases.ts'
import type { CaseTable } from './cases/operation-case.ts'
import { positionCases } from './cases/position-cases.ts'

/** Of every kind that has an adjoint, by what is special about each. */
export const CASES: CaseTable = {
  linear: linearCases,
  ...normCases,
  ...elementwiseCases,
  ...positionCases,
  ...attentionCases,
  ...lossCases,
}
