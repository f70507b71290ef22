import type { RoleRule, Score } from 'heddle/analysis'
import { ScrollTable } from '../parts/scroll-table.tsx'
import { text } from '../text/text.ts'
import type { InspectedHead } from './inspect-model.ts'
import { MASSES, percent } from './role-text.ts'

interface Shown {
  readonly mass: (typeof MASSES)[number]
  readonly score: Score
  readonly value: number
  readonly isFound: boolean
}

/** Every score of a head beside the baselines that it must beat. */
export function Evidence({
  head: { name, scores, roles },
  rule,
}: {
  readonly head: InspectedHead
  readonly rule: RoleRule
}) {
  const t = text.value.heads
  const shown = MASSES.flatMap((mass): Shown[] => {
    const score = scores[mass]
    const isFound = roles.some((role) => role.name === mass)
    return score === undefined || score.value === null ? [] : [{ mass, score, value: score.value, isFound }]
  })
  return (
    <div class="evidence">
      <h3>{t.evidence(name)}</h3>
      <ScrollTable label={t.evidence(name)} columns={[t.looksAt, t.share, t.uniform, t.shuffled, t.needed]}>
        {shown.map((each) => (
          <ScoreRow key={each.mass} shown={each} needed={neededFor(each.score, rule)} />
        ))}
      </ScrollTable>
      <Terms masses={shown.map(({ mass }) => mass)} />
    </div>
  )
}

function ScoreRow({
  shown: { mass, score, value, isFound },
  needed,
}: {
  readonly shown: Shown
  readonly needed: number
}) {
  const t = text.value.heads
  return (
    <tr class={isFound ? 'found' : ''}>
      <th scope="row">
        <span title={t.masses[mass].about}>{t.masses[mass].name}</span>
        <Track value={value} needed={needed} />
      </th>
      <td>{percent(value)}</td>
      <td>{percent(score.uniform)}</td>
      <td>{percent(score.shuffled)}</td>
      <td>{needed > 1 ? t.unreachable : percent(needed)}</td>
    </tr>
  )
}

function Terms({ masses }: { readonly masses: readonly Shown['mass'][] }) {
  const t = text.value.heads
  return (
    <details>
      <summary>{t.whatScores}</summary>
      <dl class="terms">
        {masses.map((mass) => (
          <div key={mass}>
            <dt>{t.masses[mass].name}</dt>
            <dd>{t.masses[mass].about}</dd>
          </div>
        ))}
      </dl>
    </details>
  )
}

/** The score as a bar, with a mark where a role begins. */
function Track({ value, needed }: { readonly value: number; readonly needed: number }) {
  return (
    <span class="track" aria-hidden="true">
      <span style={{ width: `${value * 100}%` }} />
      {needed > 1 ? null : <i style={{ left: `${needed * 100}%` }} />}
    </span>
  )
}

/** The score from which the head has the role. */
function neededFor({ uniform, shuffled }: Score, { share, factor }: RoleRule): number {
  return Math.max(share, factor * Math.max(uniform ?? 0, shuffled ?? 0))
}
