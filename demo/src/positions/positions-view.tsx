import { sinusoidalTable } from 'heddle/nn'
import { heatmapGrid } from '../../../src/plots/heatmap-grid.ts'
import { heatmap } from '../../../src/plots/heatmap.ts'
import { linePlot } from '../../../src/plots/line-plot.ts'
import { Choice, Failure, Slider } from '../parts/controls.tsx'
import { Plot } from '../parts/plot.tsx'
import { text } from '../text/text.ts'
import { ALIBI_HEADS, alibiSlope, POSITIONS, SCHEMES, SIZE } from './position-scores.ts'
import { failure, query, settings, weights } from './positions-state.ts'

const TABLE = sinusoidalTable(POSITIONS, SIZE).data
const BASES = [1000, 10_000, 500_000] as const

export function PositionsView() {
  const t = text.value.positions
  return (
    <div class="view positions">
      <div class="intro">
        <h1>{t.title}</h1>
        <p class="lead">{t.lead}</p>
      </div>
      <section class="panel" aria-label={t.settings}>
        <Settings />
        {failure.value === null ? null : <Failure title={t.failed} error={failure.value} />}
        <Row />
        <Patterns />
      </section>
      <div class="columns">
        <Table />
        <Differences />
      </div>
    </div>
  )
}

function Settings() {
  const t = text.value.positions
  const { base, head } = settings.value
  return (
    <div class="actions spread">
      <Slider
        label={t.query}
        value={query.value}
        min={0}
        max={POSITIONS - 1}
        onChange={(value) => {
          query.value = value
        }}
      />
      <Choice
        label={t.base}
        value={base}
        options={BASES.map((value) => ({ value, label: value.toLocaleString('en-US') }))}
        onChange={(value) => {
          settings.value = { ...settings.value, base: value }
        }}
      />
      <Slider
        label={t.head}
        value={head}
        min={1}
        max={ALIBI_HEADS}
        shown={`${head} (${t.slope} ${alibiSlope(head).toPrecision(2)})`}
        onChange={(value) => {
          settings.value = { ...settings.value, head: value }
        }}
      />
    </div>
  )
}

function Table() {
  const t = text.value.positions
  return (
    <section class="panel" aria-label={t.table}>
      <Plot
        title={t.table}
        draw={(options) =>
          heatmap(
            {
              title: t.table,
              values: TABLE,
              rows: POSITIONS,
              columns: SIZE,
              x: { label: t.dimension },
              y: { label: t.position },
              value: { label: t.value },
              scale: 'diverging',
              domain: [-1, 1],
              pooling: 'mean',
              words: text.value.plots,
            },
            options,
          )
        }
      />
    </section>
  )
}

function Differences() {
  const t = text.value.positions
  return (
    <section class="panel prose" aria-label={t.compared}>
      <h2>{t.compared}</h2>
      {SCHEMES.map((scheme) => (
        <div key={scheme}>
          <h3>{t.schemes[scheme]}</h3>
          <p>{t.about[scheme]}</p>
        </div>
      ))}
    </section>
  )
}

/** The weights of one position over all others, by scheme. */
function Row() {
  const t = text.value.positions
  const all = weights.value
  if (all === null)
    return (
      <p class="hint busy" role="status">
        {t.loading}
      </p>
    )
  const series = SCHEMES.map((scheme) => ({
    name: t.schemes[scheme],
    draw: 'line' as const,
    points: Array.from({ length: POSITIONS }, (_, key) => ({
      x: key,
      y: all[scheme][query.value * POSITIONS + key] ?? 0,
    })),
  }))
  const title = t.row(query.value)
  return (
    <Plot
      title={title}
      maxWidth={1100}
      draw={(options) =>
        linePlot(
          {
            title,
            x: { label: t.keyPosition, scale: 'linear', end: POSITIONS - 1 },
            y: { label: t.weight, scale: 'linear' },
            series,
          },
          options,
        )
      }
    />
  )
}

function Patterns() {
  const t = text.value.positions
  const all = weights.value
  if (all === null) return null
  const panels = SCHEMES.map((scheme) => ({
    label: t.schemes[scheme],
    values: logarithms(all[scheme]),
    rows: POSITIONS,
    columns: POSITIONS,
  }))
  return (
    <Plot
      title={t.patterns}
      draw={(options) =>
        heatmapGrid(
          {
            title: t.patterns,
            panels: [panels],
            value: { label: t.logWeight },
            domain: [-4, 0],
            words: text.value.plots,
          },
          options,
        )
      }
    >
      <p class="hint">{t.patternsNote}</p>
    </Plot>
  )
}

/** log₁₀ of weights, no lower than 10⁻⁴: a far position has little, and one should see how little. */
function logarithms(values: Float32Array): Float32Array {
  return values.map((value) => Math.log10(Math.max(value, 1e-4)))
}
