import { POSITION_SETS } from './key-sets.ts'
import type { RelationScore, Role, RoleRule, Score, ScoreName } from './report.ts'
import { TOKEN_SETS } from './token-sets.ts'

/**
 * The roles of a head, strongest first: the masses that are at least `share` and at least `factor` times each of their
 * baselines. A head for which none is has no role.
 */
export function rolesOf(
  scores: Readonly<Partial<Record<ScoreName, Score>>>,
  relations: readonly RelationScore[],
  { factor, share }: RoleRule,
): Role[] {
  const masses = [...POSITION_SETS, ...TOKEN_SETS].flatMap((name) => {
    const score = scores[name]
    return score === undefined || score.value === null
      ? []
      : [{ name, value: score.value, baseline: Math.max(score.uniform ?? 0, score.shuffled ?? 0) }]
  })
  const related = relations.flatMap(({ name, value, uniform, fixedOffset }) =>
    value === null
      ? []
      : [{ name: `relation: ${name}`, value, baseline: Math.max(uniform ?? 0, fixedOffset?.value ?? 0) }],
  )
  const strength = ({ value, baseline }: Role): number => value / baseline
  return [...masses, ...related]
    .filter((role) => role.value >= share && role.value >= factor * role.baseline)
    .sort((a, b) => strength(b) - strength(a))
}
