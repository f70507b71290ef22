import { formatInteger } from '../../../src/plots/format.ts'
import { heatmapGrid, panelsThatFit, type Panel } from '../../../src/plots/heatmap-grid.ts'
import { linePlot, type Series } from '../../../src/plots/line-plot.ts'
import { roleName } from '../heads/role-text.ts'
import { host } from '../host.ts'
import { Facts, Failure, Slider } from '../parts/controls.tsx'
import { Plot } from '../parts/plot.tsx'
import { text } from '../text/text.ts'
import {
  data,
  failure,
  goOn,
  heldOut,
  isActive,
  last,
  pause,
  points,
  rate,
  samples,
  snapshots,
  start,
  state,
  STEPS,
  stop,
  trained,
  WATCHED,
  type Point,
  type Snapshot,
} from './train-state.ts'

/** Points of the training loss: means of so many stretches of steps. */
const CURVE_POINTS = 120
/** Steps of the evolution side by side. */
const SHOWN_SNAPSHOTS = 6

export function TrainView() {
  const t = text.value.train
  return (
    <div class="view train">
      <div class="intro">
        <h1>{t.title}</h1>
        <p class="lead">{t.lead}</p>
      </div>
      <section class="panel" aria-label={t.run}>
        <div class="actions">
          <Buttons />
          <Slider
            label={t.rate}
            value={Math.log10(rate.value)}
            min={-4}
            max={-1.5}
            step={0.05}
            shown={rate.value.toPrecision(2)}
            onChange={(value) => {
              rate.value = 10 ** value
            }}
          />
          <p class="outcome" role="status">
            {t.states[state.value]}
          </p>
        </div>
        {state.value === 'failed' ? <Failure title={t.failed} error={failure.value} /> : null}
        <Figures />
      </section>
      {points.value.length === 0 ? null : <Learning />}
      {snapshots.value.length === 0 ? null : <Evolution />}
    </div>
  )
}

function Buttons() {
  const t = text.value.train
  if (!isActive.value)
    return (
      <button type="button" class="go" disabled={host.value.kind !== 'ready'} onClick={() => void start()}>
        {state.value === 'empty' ? t.start : t.again}
      </button>
    )
  return (
    <>
      {state.value === 'paused' ? (
        <button type="button" class="go" onClick={goOn}>
          {t.resume}
        </button>
      ) : (
        <button type="button" disabled={state.value === 'loading'} onClick={pause}>
          {t.pause}
        </button>
      )}
      <button type="button" class="stop" onClick={stop}>
        {t.stop}
      </button>
    </>
  )
}

function Figures() {
  const t = text.value.train
  const step = last.value
  const best = Math.min(...heldOut.value.map(({ loss }) => loss))
  return (
    <Facts
      items={[
        [t.step, step === null ? `0 / ${STEPS}` : `${step.step} / ${STEPS}`],
        [t.loss, step === null ? '–' : step.loss.toFixed(3)],
        [t.heldOut, Number.isFinite(best) ? best.toFixed(3) : '–'],
        [t.speed, step === null ? '–' : formatInteger(step.tokensPerSecond)],
        [t.parameters, trained.value === null ? '–' : formatInteger(trained.value.model.numParameters())],
      ]}
    />
  )
}

function Learning() {
  const t = text.value.train
  const simple = data.value?.baselines
  const end = points.value.at(-1)?.step ?? 1
  const series: Series[] = [
    { name: t.training, draw: 'line', points: meanPoints(points.value) },
    ...(heldOut.value.length === 0 || simple === undefined
      ? []
      : [{ name: t.heldOut, points: heldOut.value.map(({ step, loss }) => ({ x: step, y: loss })) }]),
    ...(simple === undefined ? [] : [level(t.bigram, simple.bigram, end), level(t.unigram, simple.unigram, end)]),
  ]
  return (
    <div class="columns">
      <section class="panel" aria-label={t.curve}>
        <Plot
          title={t.curve}
          draw={(options) =>
            linePlot(
              {
                title: t.curve,
                x: { label: t.step, scale: 'linear' },
                y: { label: t.crossEntropy, unit: t.nats, scale: 'linear' },
                series,
              },
              options,
            )
          }
        >
          <p class="hint">{t.baselines}</p>
        </Plot>
      </section>
      <Writing />
    </div>
  )
}

/** A baseline, as long as the curve. */
function level(name: string, value: number, end: number): Series {
  const points = [1, Math.max(end, 2)].map((x) => ({ x, y: value }))
  return { name, draw: 'line', points }
}

function Writing() {
  const t = text.value.train
  return (
    <section class="panel" aria-label={t.writes}>
      <h2>{t.writes}</h2>
      <p class="samples" translate={false} lang="en">
        {samples.value.map(({ name, origin }, index) => (
          <>
            <span key={index} class={origin === 'new' ? 'new' : ''} title={t.origins[origin]}>
              {name}
            </span>{' '}
          </>
        ))}
      </p>
      <p class="hint">{t.note(samples.value.filter(({ origin }) => origin === 'new').length, samples.value.length)}</p>
    </section>
  )
}

/** One name at several steps: a row per head. */
function Evolution() {
  const t = text.value.train
  const all = snapshots.value
  const panels = (width = 0): Panel[][] => {
    const shown = spread(all, Math.min(SHOWN_SNAPSHOTS, panelsThatFit(width)))
    return (shown[0]?.heads ?? []).map(({ name }, index) =>
      shown.map(({ step, heads }) => {
        const { values, size, roles } = heads[index] ?? { values: [], size: 0, roles: [] }
        const label = roles[0] === undefined ? name : `${name} ${roleName(roles[0].name)}`
        return { label, note: t.atStep(step), values, rows: size, columns: size }
      }),
    )
  }
  return (
    <section class="panel" aria-label={t.heads}>
      <Plot
        title={t.heads}
        maxWidth={1100}
        draw={(options) =>
          heatmapGrid(
            {
              title: t.heads,
              panels: panels(options.width),
              value: { label: t.weight },
              domain: [0, 1],
              words: text.value.plots,
            },
            options,
          )
        }
      >
        <p class="hint">{t.headsNote(WATCHED)}</p>
      </Plot>
    </section>
  )
}

/** The first, the last and evenly spread ones between. */
function spread(all: readonly Snapshot[], most: number): Snapshot[] {
  const count = Math.min(most, all.length)
  return Array.from(
    { length: count },
    (_, index) => all[Math.round((index * (all.length - 1)) / Math.max(1, count - 1))],
  ).filter((each) => each !== undefined)
}

function meanPoints(all: readonly Point[]): { x: number; y: number }[] {
  const stretch = Math.ceil(all.length / CURVE_POINTS)
  return Array.from({ length: Math.ceil(all.length / stretch) }, (_, index) => {
    const part = all.slice(index * stretch, (index + 1) * stretch)
    return { x: part.at(-1)?.step ?? 0, y: part.reduce((sum, { loss }) => sum + loss, 0) / part.length }
  })
}
