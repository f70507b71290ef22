import type { RoleRule, Score } from 'heddle/analysis'
import { text } from '../text/text.ts'
import type { InspectedHead } from './inspect-model.ts'
import { MASSES, percent } from './role-text.ts'

/** Every score of a head beside the baselines that it must beat. */
export function Evidence({
  head: { name, scores, roles },
  rule,
}: {
  readonly head: InspectedHead
  readonly rule: RoleRule
}) {
  const t = text.value.heads
  const shown = MASSES.flatMap((mass) => {
    const score = scores[mass]
    return score === undefined || score.value === null ? [] : [{ mass, score, value: score.value }]
  })
  return (
    <div class="evidence">
      <h3>{t.evidence(name)}</h3>
      <div class="scroll" tabIndex={0} role="region" aria-label={t.evidence(name)}>
        <table>
          <thead>
            <tr>
              {[t.looksAt, t.share, t.uniform, t.shuffled, t.needed].map((title) => (
                <th key={title} scope="col">
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map(({ mass, score, value }) => (
              <tr key={mass} class={roles.some((role) => role.name === mass) ? 'found' : ''}>
                <th scope="row">
                  <span title={t.masses[mass].about}>{t.masses[mass].name}</span>
                  <Track value={value} needed={neededFor(score, rule)} />
                </th>
                <td>{percent(value)}</td>
                <td>{percent(score.uniform)}</td>
                <td>{percent(score.shuffled)}</td>
                <td>{neededFor(score, rule) > 1 ? t.unreachable : percent(neededFor(score, rule))}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      <details>
        <summary>{t.whatScores}</summary>
        <dl class="terms">
          {shown.map(({ mass }) => (
            <div key={mass}>
              <dt>{t.masses[mass].name}</dt>
              <dd>{t.masses[mass].about}</dd>
            </div>
          ))}
        </dl>
      </details>
    </div>
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
