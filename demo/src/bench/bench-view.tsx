import { useState } from 'preact/hooks'
import { formatDuration, formatInteger } from '../../../src/plots/format.ts'
import { formatBytesShort, shortCount } from '../../../src/plots/growth-plots.ts'
import { linePlot, type LinePlot } from '../../../src/plots/line-plot.ts'
import { formatBytes } from '../../../src/plan/explain.ts'
import { host } from '../host.ts'
import { Choice, Failure } from '../parts/controls.tsx'
import { Plot } from '../parts/plot.tsx'
import { ScrollTable } from '../parts/scroll-table.tsx'
import { text } from '../text/text.ts'
import { encodeResult, formatResult, MODES, type BenchPoint, type BenchResult } from './bench-result.ts'
import {
  extent,
  failure,
  LENGTHS,
  ownResult,
  points,
  shared,
  start,
  state,
  step,
  stop,
  type Extent,
} from './bench-state.ts'

export function BenchView() {
  const t = text.value.bench
  const isRunning = state.value === 'running'
  return (
    <div class="view bench">
      <div class="intro">
        <h1>{t.title}</h1>
        <p class="lead">{t.lead}</p>
      </div>
      {shared.value === undefined ? null : shared.value === null ? (
        <Failure title={t.noResult} error={t.noResultDetail} />
      ) : (
        <Shared result={shared.value} />
      )}
      <section class="panel" aria-label={t.own}>
        <Choice
          label={t.lengths}
          value={extent.value}
          disabled={isRunning}
          options={(Object.keys(LENGTHS) as Extent[]).map((value) => ({
            value,
            label: t.upTo(formatInteger(LENGTHS[value].at(-1) ?? 0)),
          }))}
          onChange={(value) => {
            extent.value = value
          }}
        />
        <div class="actions">
          <Buttons />
          <Progress />
        </div>
        {state.value === 'failed' ? <Failure title={t.failed} error={failure.value} /> : null}
        {points.value.length === 0 ? <p class="hint">{t.empty}</p> : <Curves points={points.value} />}
        {state.value === 'finished' ? <Share /> : null}
      </section>
    </div>
  )
}

function Buttons() {
  const t = text.value.bench
  return state.value === 'running' ? (
    <button type="button" class="stop" onClick={stop}>
      {t.stop}
    </button>
  ) : (
    <button type="button" class="go" disabled={host.value.kind !== 'ready'} onClick={() => void start()}>
      {t.start}
    </button>
  )
}

function Progress() {
  const t = text.value.bench
  const current = step.value
  if (state.value !== 'running')
    return (
      <p class="outcome" role="status">
        {t.states[state.value]}
      </p>
    )
  return (
    <div class="progress">
      <progress max={current?.total ?? 1} value={current?.done ?? 0} aria-label={t.progress} />
      <span>{current === null ? t.comparing : t.at(t.modes[current.mode], formatInteger(current.tokens))}</span>
    </div>
  )
}

function Curves({ points: measured }: { readonly points: readonly BenchPoint[] }) {
  const t = text.value.bench
  const plotOf = (title: string, y: LinePlot['y'], value: (point: BenchPoint) => number): LinePlot => ({
    title,
    x: { label: t.tokens, scale: 'log2', format: shortCount },
    y,
    series: MODES.map((mode) => ({
      name: t.modes[mode],
      points: measured.filter((point) => point.mode === mode).map((point) => ({ x: point.tokens, y: value(point) })),
    })),
  })
  const time = plotOf(
    t.time,
    { label: t.time, scale: 'log10', format: (ms) => formatDuration(ms).replace(/\.0+ /, ' ') },
    ({ elapsedMs }) => elapsedMs,
  )
  const memory = plotOf(
    t.memory,
    { label: t.peak, scale: 'log2', format: formatBytesShort },
    ({ peakBytes }) => peakBytes,
  )
  return (
    <>
      <div class="columns">
        {[time, memory].map((plot) => (
          <Plot key={plot.title} title={plot.title} draw={(options) => linePlot(plot, options)} />
        ))}
      </div>
      <Table measured={measured} />
    </>
  )
}

function Table({ measured }: { readonly measured: readonly BenchPoint[] }) {
  const t = text.value.bench
  const lengths = [...new Set(measured.map(({ tokens }) => tokens))]
  return (
    <ScrollTable label={t.table} columns={[t.tokens, ...MODES.map((mode) => t.modes[mode])]}>
      {lengths.map((tokens) => (
        <tr key={tokens}>
          <td>{formatInteger(tokens)}</td>
          {MODES.map((mode) => {
            const point = measured.find((each) => each.mode === mode && each.tokens === tokens)
            return <td key={mode}>{point === undefined ? '–' : <Measured point={point} />}</td>
          })}
        </tr>
      ))}
    </ScrollTable>
  )
}

function Measured({ point: { elapsedMs, peakBytes } }: { readonly point: BenchPoint }) {
  return (
    <>
      {formatDuration(elapsedMs)} <span class="between">· </span>
      <span class="second">{formatBytes(peakBytes)}</span>
    </>
  )
}

/** The result as an address, and as a file. */
function Share() {
  const t = text.value.bench
  const [isCopied, setCopied] = useState(false)
  const address = `${location.href.replace(/#.*$/, '')}#/bench/${encodeResult(ownResult())}`
  const copy = (): void => {
    navigator.clipboard.writeText(address).then(
      () => setCopied(true),
      () => setCopied(false),
    )
  }
  const save = (): void => {
    const link = document.createElement('a')
    link.href = URL.createObjectURL(new Blob([formatResult(ownResult(), 2)], { type: 'application/json' }))
    link.download = 'heddle-bench.json'
    link.click()
    URL.revokeObjectURL(link.href)
  }
  return (
    <div class="share field">
      <label for="share-link">{t.link}</label>
      <input id="share-link" type="text" readOnly value={address} onFocus={(event) => event.currentTarget.select()} />
      <div class="actions">
        <button type="button" onClick={copy}>
          {t.copy}
        </button>
        <button type="button" onClick={save}>
          {t.json}
        </button>
        <span class="outcome" role="status">
          {isCopied ? t.copied : ''}
        </span>
      </div>
    </div>
  )
}

function Shared({ result }: { readonly result: BenchResult }) {
  const t = text.value.bench
  return (
    <section class="panel" aria-label={t.shared}>
      <h2>{t.shared}</h2>
      <p class="hint">{t.sharedNote(result.date.slice(0, 10), result.cores, result.lanes.length, result.isolated)}</p>
      <Curves points={result.points} />
    </section>
  )
}
