import { heatmapGrid } from '../../../src/plots/heatmap-grid.ts'
import { Plot } from '../parts/plot.tsx'
import { ScrollTable } from '../parts/scroll-table.tsx'
import { text } from '../text/text.ts'
import { chosen } from './heads-state.ts'
import type { InspectedHead, Inspection } from './inspect-model.ts'
import { percent, roleName } from './role-text.ts'

/** All heads: their matrices, and the role of each next to what it had to beat. */
export function RolesPanel({ inspection: { heads, rule } }: { readonly inspection: Inspection }) {
  const t = text.value.heads
  const layers = [...new Set(heads.map(({ layer }) => layer))]
  const panels = layers.map((layer) =>
    heads
      .filter((head) => head.layer === layer)
      .map(({ name, roles: [role], values, size }) => ({
        ...{ label: name, values, rows: size, columns: size },
        note: role === undefined ? t.noRole : roleName(role.name),
      })),
  )
  return (
    <section class="panel" aria-label={t.grid}>
      <p class="roles" role="status">
        {summary(heads)}
      </p>
      <div class="columns">
        <div class="pickable" onClick={pick}>
          <Plot
            title={t.grid}
            draw={(options) =>
              heatmapGrid(
                { title: t.grid, panels, value: { label: t.weight }, domain: [0, 1], words: text.value.plots },
                options,
              )
            }
          />
        </div>
        <RoleTable heads={heads} />
      </div>
      <p class="hint">{t.rule(percent(rule.share), rule.factor)}</p>
    </section>
  )
}

/** `Induction: 1.0, 1.1. Previous token: 0.0.` */
function summary(heads: readonly InspectedHead[]): string {
  const t = text.value.heads
  const byRole = new Map<string, string[]>()
  for (const {
    name,
    roles: [role],
  } of heads)
    if (role !== undefined) byRole.set(role.name, [...(byRole.get(role.name) ?? []), name])
  if (byRole.size === 0) return t.nothingFound
  return t.foundRoles([...byRole].map(([role, names]) => `${roleName(role)} (${names.join(', ')})`).join(', '))
}

/** A click on a matrix chooses its head; with the keyboard, the table does. */
function pick(event: MouseEvent): void {
  const target = event.target as Element
  const groups = target.closest('svg')?.querySelectorAll(':scope > g')
  const index = groups === undefined ? -1 : [...groups].findIndex((group) => group.contains(target))
  if (index >= 0) chosen.value = index
}

function RoleTable({ heads }: { readonly heads: readonly InspectedHead[] }) {
  const t = text.value.heads
  return (
    <ScrollTable label={t.roles} columns={[t.head, t.role, t.share, t.uniform, t.shuffled]} kind="role-table">
      {heads.map((head, index) => (
        <RoleRow
          key={head.name}
          head={head}
          isChosen={index === chosen.value}
          onChoose={() => (chosen.value = index)}
        />
      ))}
    </ScrollTable>
  )
}

function RoleRow({
  head: { name, roles, scores },
  isChosen,
  onChoose,
}: {
  readonly head: InspectedHead
  readonly isChosen: boolean
  readonly onChoose: () => void
}) {
  const t = text.value.heads
  const [role] = roles
  const score = role === undefined ? undefined : scores[role.name as keyof typeof scores]
  return (
    <tr class={isChosen ? 'chosen' : ''}>
      <th scope="row">
        <button type="button" class="pill" aria-pressed={isChosen} aria-label={t.matrix(name)} onClick={onChoose}>
          {name}
        </button>
      </th>
      <td class={role === undefined ? 'off' : 'strong'}>{role === undefined ? t.noRole : roleName(role.name)}</td>
      <td>{percent(role?.value)}</td>
      <td>{percent(score?.uniform)}</td>
      <td>{percent(score?.shuffled)}</td>
    </tr>
  )
}
