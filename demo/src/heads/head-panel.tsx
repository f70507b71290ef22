import { heatmap } from '../../../src/plots/heatmap.ts'
import { Plot } from '../parts/plot.tsx'
import { text } from '../text/text.ts'
import { Evidence } from './evidence.tsx'
import { row } from './heads-state.ts'
import type { InspectedHead, Inspection } from './inspect-model.ts'
import { roleName } from './role-text.ts'
import { TokenBars } from './token-bars.tsx'

/** One head: its matrix, its scores, and where the token under the pointer attends and comes from. */
export function HeadPanel({
  inspection: { labels, rollout, rule },
  head,
}: {
  readonly inspection: Inspection
  readonly head: InspectedHead
}) {
  const t = text.value.heads
  const [role] = head.roles
  const title = role === undefined ? t.matrix(head.name) : `${t.matrix(head.name)}: ${roleName(role.name)}`
  const at = Math.max(0, Math.min(row.value, head.size - 1))
  const weights = Array.from(head.values.subarray(at * head.size, (at + 1) * head.size))
  const sources = rollout[at]?.map((share, key) => (key > at ? NaN : share))
  return (
    <div class="columns">
      <section class="panel" aria-label={title}>
        <div onPointerMove={(event) => point(event, head.size)}>
          <Matrix title={title} head={head} labels={labels} />
        </div>
        <Evidence head={head} rule={rule} />
      </section>
      <section class="panel" aria-label={t.row(labels[at] ?? '')}>
        <h2>{t.row(labels[at] ?? '')}</h2>
        <p class="hint">{t.hover}</p>
        <TokenBars labels={labels} values={weights} at={at} onPoint={(index) => (row.value = index)} />
        {sources === undefined ? null : <Sources labels={labels} values={sources} at={at} />}
      </section>
    </div>
  )
}

/** Where a token comes from, through all layers. */
function Sources(bars: {
  readonly labels: readonly string[]
  readonly values: readonly number[]
  readonly at: number
}) {
  const t = text.value.heads
  return (
    <>
      <h2>{t.rollout(bars.labels[bars.at] ?? '')}</h2>
      <p class="hint">{t.rolloutNote}</p>
      <TokenBars {...bars} />
    </>
  )
}

function Matrix({
  title,
  head: { values, size },
  labels,
}: {
  readonly title: string
  readonly head: InspectedHead
  readonly labels: readonly string[]
}) {
  const t = text.value.heads
  return (
    <Plot
      title={title}
      maxWidth={520}
      draw={(options) =>
        heatmap(
          {
            ...{ title, values, rows: size, columns: size, domain: [0, 1] },
            x: { label: t.key, tokens: labels },
            y: { label: t.query, tokens: labels },
            value: { label: t.weight },
            words: text.value.plots,
          },
          options,
        )
      }
    />
  )
}

/** The row of the matrix under the pointer. */
function point(event: PointerEvent, size: number): void {
  const frame = (event.currentTarget as Element).querySelector('rect.edge')?.getBoundingClientRect()
  if (frame === undefined || event.clientX < frame.left || event.clientX > frame.right) return
  const at = Math.floor(((event.clientY - frame.top) / frame.height) * size)
  if (at >= 0 && at < size) row.value = at
}
