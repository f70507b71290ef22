import { useEffect, useId } from 'preact/hooks'
import { host } from '../host.ts'
import { Choice, Failure } from '../parts/controls.tsx'
import { text } from '../text/text.ts'
import { HeadPanel } from './head-panel.tsx'
import {
  analysisFailure,
  choose,
  chosen,
  current,
  drawSymbols,
  fileName,
  found,
  input,
  isBusy,
  load,
  modelFailure,
  openFile,
  source,
  sources,
  symbols,
  text as typed,
  type Source,
} from './heads-state.ts'
import { LONGEST_INPUT } from './inspect-model.ts'
import { RolesPanel } from './roles-panel.tsx'

/** Far beyond what is analyzed, so that a text which is too long is said to be, and not cut. */
const LONGEST_TYPED = 2000

export function HeadsView() {
  const t = text.value.heads
  const isReady = host.value.kind === 'ready'
  useEffect(() => {
    if (isReady) void load()
  }, [isReady])
  return (
    <div class="view heads">
      <div class="intro">
        <h1>{t.title}</h1>
        <p class="lead">{t.lead}</p>
      </div>
      <section class="panel" aria-label={t.model}>
        <Models />
        {modelFailure.value === null ? null : <Failure title={t.noModel} error={modelFailure.value} />}
        {current.value === null ? null : <Input />}
        {analysisFailure.value === null ? null : <Failure title={t.failed} error={analysisFailure.value} />}
      </section>
      <Found />
    </div>
  )
}

function Found() {
  const inspection = found.value
  if (inspection === null || current.value === null || input.value.kind !== 'tokens') return null
  const head = inspection.heads[chosen.value] ?? inspection.heads[0]
  if (head === undefined) return null
  return (
    <>
      <RolesPanel inspection={inspection} />
      <HeadPanel inspection={inspection} head={head} />
    </>
  )
}

function Models() {
  const t = text.value.heads
  const label: Readonly<Record<Source, string>> = { ...t.sources, file: fileName.value }
  return (
    <>
      <div class="actions ends">
        <Choice
          label={t.source}
          value={source.value}
          options={sources.value.map((value) => ({ value, label: label[value] }))}
          onChange={choose}
        />
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
        <a class="button" href="#/train">
          {t.train}
        </a>
      </div>
      <p class={`hint ${current.value === null && modelFailure.value === null ? 'busy' : ''}`} role="status">
        {current.value === null ? t.loading : source.value === 'file' ? t.from(fileName.value) : t.about[source.value]}
      </p>
    </>
  )
}

function Input() {
  const t = text.value.heads
  const id = useId()
  const isText = current.value?.tokens.kind === 'text'
  const content = isText ? typed : symbols
  return (
    <div class="field">
      <label for={id}>{isText ? t.input : t.numbers}</label>
      <div class="entry">
        <input
          id={id}
          type="text"
          value={content.value}
          maxLength={LONGEST_TYPED}
          spellcheck={false}
          autocomplete="off"
          aria-describedby={`${id}-hint`}
          aria-invalid={input.value.kind !== 'tokens' && input.value.kind !== 'empty'}
          onInput={(event) => {
            content.value = event.currentTarget.value
          }}
        />
        {isText ? null : (
          <button type="button" onClick={drawSymbols}>
            {t.another}
          </button>
        )}
      </div>
      <p class={`hint ${isBusy.value ? 'busy' : ''}`} id={`${id}-hint`} role="status">
        {hint()}
      </p>
    </div>
  )
}

/** What is wrong with the input, or what one sees of it. */
function hint(): string {
  const t = text.value.heads
  const [wanted, tokens] = [input.value, current.value?.tokens]
  const isText = tokens?.kind === 'text'
  if (wanted.kind === 'empty') return isText ? t.empty : t.noNumbers
  if (wanted.kind === 'short') return t.short
  if (wanted.kind === 'long') return t.long(wanted.length, LONGEST_INPUT)
  if (wanted.kind === 'unknown') {
    const list = wanted.what.map((each) => `“${each}”`).join(', ')
    return tokens?.kind === 'symbols' ? t.unknownNumbers(list, tokens.size - 1) : t.unknown(list)
  }
  return isText ? t.hint : t.numbersHint
}
