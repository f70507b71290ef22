import { useEffect, useId } from 'preact/hooks'
import { heatmapGrid } from '../../../src/plots/heatmap-grid.ts'
import { heatmap } from '../../../src/plots/heatmap.ts'
import { host } from '../host.ts'
import { Choice, Failure } from '../parts/controls.tsx'
import { Plot } from '../parts/plot.tsx'
import { text } from '../text/text.ts'
import type { HeadWeights } from '../train/head-weights.ts'
import {
  chosen,
  current,
  failure,
  found,
  input,
  loadShipped,
  LONGEST_INPUT,
  openFile,
  row,
  SHIPPED,
  unknown,
} from './heads-state.ts'

export function HeadsView() {
  const t = text.value.heads
  const isReady = host.value.kind === 'ready'
  useEffect(() => {
    if (isReady) void loadShipped()
  }, [isReady])
  return (
    <div class="view heads">
      <div class="intro">
        <h1>{t.title}</h1>
        <p class="lead">{t.lead}</p>
      </div>
      <section class="panel" aria-label={t.model}>
        <Source />
        {failure.value === null ? null : <Failure title={t.failed} error={failure.value} />}
        {current.value === null ? null : <Input />}
      </section>
      {found.value === null || current.value === null ? null : (
        <Found labels={found.value.labels} heads={found.value.heads} />
      )}
    </div>
  )
}

function Source() {
  const t = text.value.heads
  const model = current.value
  return (
    <div class="actions">
      <p class="outcome" role="status">
        {model === null ? t.none : model.name === '' ? t.own : model.name === SHIPPED ? t.shipped : t.from(model.name)}
      </p>
      {model === null || model.name === SHIPPED ? (
        <a class="button" href="#/train">
          {t.train}
        </a>
      ) : null}
      <label class="file">
        {t.open}
        <input
          type="file"
          accept=".safetensors"
          onChange={(event) => {
            const file = event.currentTarget.files?.[0]
            if (file !== undefined) void openFile(file)
          }}
        />
      </label>
    </div>
  )
}

function Input() {
  const t = text.value.heads
  const id = useId()
  const missing = unknown.value
  return (
    <div class="field">
      <label for={id}>{t.input}</label>
      <input
        id={id}
        type="text"
        value={input.value}
        maxLength={LONGEST_INPUT}
        spellcheck={false}
        autocomplete="off"
        onInput={(event) => {
          input.value = event.currentTarget.value
        }}
      />
      <p class="hint" role="status">
        {missing.length > 0
          ? t.unknown(missing.map((character) => `“${character}”`).join(', '))
          : input.value === ''
            ? t.empty
            : t.hint}
      </p>
    </div>
  )
}

function Found({ labels, heads }: { readonly labels: readonly string[]; readonly heads: readonly HeadWeights[] }) {
  const t = text.value.heads
  const layers = [...new Set(heads.map(({ layer }) => layer))]
  const panels = layers.map((layer) =>
    heads
      .filter((head) => head.layer === layer)
      .map((head) => ({ label: nameOf(head), values: head.values, rows: head.size, columns: head.size })),
  )
  const head = heads[chosen.value] ?? heads[0]
  return (
    <>
      <section class="panel" aria-label={t.grid}>
        <Plot
          title={t.grid}
          draw={(options) =>
            heatmapGrid({ title: t.grid, panels, value: { label: t.weight }, domain: [0, 1] }, options)
          }
        />
        <Choice
          label={t.head}
          value={chosen.value}
          options={heads.map((each, index) => ({ value: index, label: nameOf(each) }))}
          onChange={(value) => {
            chosen.value = value
          }}
        />
      </section>
      {head === undefined ? null : <One head={head} labels={labels} />}
    </>
  )
}

/** One head: its matrix, and the weights of the token under the pointer. */
function One({ head, labels }: { readonly head: HeadWeights; readonly labels: readonly string[] }) {
  const t = text.value.heads
  const title = t.matrix(nameOf(head))
  const at = Math.max(0, Math.min(row.value, head.size - 1))
  const weightOf = (key: number): number => (key > at ? 0 : (head.values[at * head.size + key] ?? 0))
  return (
    <div class="columns">
      <section class="panel" aria-label={title}>
        <Plot
          title={title}
          maxWidth={520}
          draw={(options) =>
            heatmap(
              {
                title,
                values: head.values,
                rows: head.size,
                columns: head.size,
                x: { label: t.key, tokens: labels },
                y: { label: t.query, tokens: labels },
                value: { label: t.weight },
                domain: [0, 1],
              },
              options,
            )
          }
        />
      </section>
      <section class="panel" aria-label={t.row(labels[at] ?? '')}>
        <h2>{t.row(labels[at] ?? '')}</h2>
        <p class="hint">{t.hover}</p>
        <ol class="tokens">
          {labels.map((label, index) => (
            <li key={index}>
              <button
                type="button"
                aria-pressed={index === at}
                onMouseEnter={() => {
                  row.value = index
                }}
                onFocus={() => {
                  row.value = index
                }}
                onClick={() => {
                  row.value = index
                }}
              >
                {label}
              </button>
              <span class="bar" aria-hidden="true">
                <span style={{ height: `${weightOf(index) * 100}%` }} />
              </span>
              <span class="percent">{index > at ? '' : `${Math.round(weightOf(index) * 100)} %`}</span>
            </li>
          ))}
        </ol>
      </section>
    </div>
  )
}

/** `1.3`: the third head of the first layer. */
function nameOf({ layer, head }: HeadWeights): string {
  return `${layer + 1}.${head + 1}`
}
