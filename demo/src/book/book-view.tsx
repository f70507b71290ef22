import { useEffect } from 'preact/hooks'
import { formatDuration, formatInteger } from '../../../src/plots/format.ts'
import { laneTimeline } from '../../../src/plots/lane-timeline.ts'
import { formatBytes } from '../../../src/plan/explain.ts'
import { host } from '../host.ts'
import { Choice, Compare, Facts, Failure } from '../parts/controls.tsx'
import { Plot } from '../parts/plot.tsx'
import { text } from '../text/text.ts'
import {
  attend,
  prepare,
  reading,
  readingState,
  run,
  size,
  SIZES,
  source,
  startMs,
  stop,
  tasks,
  type Finished,
  type Reading,
} from './book-state.ts'
import { GazePanel } from './gaze-panel.tsx'
import { OwnText } from './own-text.tsx'
import { Reader } from './reader.tsx'

export function BookView() {
  const t = text.value.book
  const isReady = host.value.kind === 'ready'
  useEffect(() => {
    if (isReady && readingState.peek().kind === 'empty' && source.peek().kind === 'book') void prepare()
  }, [isReady])
  return (
    <div class="view book">
      <div class="intro">
        <h1>{t.title}</h1>
        <p class="lead">{t.lead}</p>
      </div>
      <section class="panel setup" aria-label={t.setup}>
        <Choice
          label={t.source}
          value={source.value.kind}
          options={[
            { value: 'book', label: t.mobyDick },
            { value: 'own', label: t.own },
          ]}
          onChange={chooseSource}
        />
        <Choice
          label={t.size}
          value={size.value}
          options={SIZES.map((value) => ({ value, label: value === Infinity ? t.all : formatInteger(value) }))}
          onChange={chooseSize}
        />
        {source.value.kind === 'own' ? <OwnText /> : null}
        <Preparation />
      </section>
      <Running />
      <TextAndGaze />
    </div>
  )
}

/** The text, and where one of its words attends. */
function TextAndGaze() {
  const current = reading.value
  return current === null ? null : (
    <div class="reading">
      <Reader reading={current} />
      <GazePanel reading={current} />
    </div>
  )
}

function chooseSource(kind: 'book' | 'own'): void {
  source.value = kind === 'book' ? { kind } : { kind, text: '' }
  void prepare()
}

function chooseSize(value: number): void {
  size.value = value
  void prepare()
}

/** The plan before the run, with its button. */
function Preparation() {
  const t = text.value.book
  const state = readingState.value
  if (state.kind === 'failed') return <Failure title={t.noText} error={state.error} />
  if (state.kind === 'empty')
    return source.value.kind === 'own' ? (
      <p class="hint">{t.empty}</p>
    ) : (
      <p class="hint" aria-live="polite">
        {t.starting}
      </p>
    )
  if (state.kind === 'loading')
    return (
      <p class="hint busy" role="status">
        {t.loading}
      </p>
    )
  return <Plan reading={state.reading} />
}

function Plan({ reading: { plan, ids, words, vocabulary } }: { readonly reading: Reading }) {
  const t = text.value.book
  const isRunning = run.value.kind === 'running'
  return (
    <div class="plan">
      <h2>{t.plan}</h2>
      <Facts
        items={[
          [
            t.words,
            words > ids.length ? t.firstOf(formatInteger(ids.length), formatInteger(words)) : formatInteger(ids.length),
          ],
          [t.vocabulary, formatInteger(vocabulary)],
          [t.pairs, formatCount(ids.length ** 2)],
          [t.tasks, t.tasksOn(formatInteger(plan.tasks), plan.lanes)],
        ]}
      />
      <Compare
        items={[
          { label: t.matrix, shown: formatBytes(plan.standardBytes), amount: plan.standardBytes },
          { label: t.planned, shown: formatBytes(plan.totalBytes), amount: plan.totalBytes, isOurs: true },
        ]}
      />
      <div class="actions">
        {isRunning ? (
          <button type="button" class="stop" onClick={stop}>
            {t.stop}
          </button>
        ) : (
          <button type="button" class="go" onClick={() => void attend()}>
            {t.run}
          </button>
        )}
        <Progress />
      </div>
    </div>
  )
}

function Progress() {
  const t = text.value.book
  const state = run.value
  if (state.kind === 'running') {
    const { progress } = state
    const share = progress === null || progress.total === 0 ? 0 : progress.done / progress.total
    return (
      <div class="progress">
        <progress max={1} value={share} aria-label={t.progress} />
        <span>
          {progress === null ? t.begun : t.left(Math.round(share * 100), formatDuration(progress.remainingMs))}
        </span>
      </div>
    )
  }
  const message =
    state.kind === 'done'
      ? t.done(formatDuration(state.finished.report.elapsedMs))
      : state.kind === 'aborted'
        ? t.aborted(state.progress?.done ?? 0, state.progress?.total ?? 0)
        : ''
  return (
    <p class="outcome" role="status">
      {message}
    </p>
  )
}

function Running() {
  const t = text.value.book
  const state = run.value
  if (state.kind === 'idle') return null
  if (state.kind === 'failed') return <Failure title={t.failed} error={state.error} />
  const shown = tasks.value
  const lanes = reading.value?.plan.lanes ?? 1
  return (
    <section class="panel" aria-label={t.lanes}>
      <Plot
        title={t.lanes}
        maxWidth={1100}
        draw={(options) =>
          laneTimeline(
            {
              title: t.lanes,
              tasks: shown,
              lanes: Math.max(lanes, ...shown.map(({ lane }) => lane + 1)),
              startMs: startMs.value,
              words: t.timeline,
            },
            options,
          )
        }
      />
      {state.kind === 'done' ? <Outcome finished={state.finished} /> : null}
    </section>
  )
}

function Outcome({ finished: { report } }: { readonly finished: Finished }) {
  const t = text.value.book
  const seconds = report.elapsedMs / 1000
  const count = report.plan.sizes.queries
  return (
    <Facts
      items={[
        [t.time, formatDuration(report.elapsedMs)],
        [t.perSecond, formatInteger(count / seconds)],
        [t.speed, `${(report.plan.flops / report.elapsedMs / 1e6).toFixed(1)} GFLOP/s`],
        [t.peak, formatBytes(report.memory.peakBytes)],
        [t.ofMatrix, `1 / ${formatInteger(report.plan.standardBytes / report.memory.peakBytes)}`],
      ]}
    />
  )
}

/** `4.29 billion` without a language: `4.29 × 10⁹`. */
function formatCount(count: number): string {
  if (count < 1e6) return formatInteger(count)
  const exponent = Math.floor(Math.log10(count))
  const digits = [...String(exponent)].map((digit) => '⁰¹²³⁴⁵⁶⁷⁸⁹'[Number(digit)]).join('')
  return `${(count / 10 ** exponent).toFixed(2)} × 10${digits}`
}
