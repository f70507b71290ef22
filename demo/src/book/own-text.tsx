import { useId, useState } from 'preact/hooks'
import { text } from '../text/text.ts'
import { prepare, source } from './book-state.ts'

/** A text of the reader's own: pasted, or a file, which never leaves the tab. */
export function OwnText() {
  const t = text.value.book
  const id = useId()
  const chosen = source.value.kind === 'own' ? source.value.text : ''
  const [draft, setDraft] = useState(typeof chosen === 'string' ? chosen : '')
  const use = (own: string | File | undefined): void => {
    if (own === undefined) return
    source.value = { kind: 'own', text: own }
    void prepare()
  }
  return (
    <form
      class="own"
      onSubmit={(event) => {
        event.preventDefault()
        use(draft)
      }}
    >
      <label for={id}>{t.paste}</label>
      <textarea
        id={id}
        rows={5}
        value={draft}
        spellcheck={false}
        onInput={(event) => setDraft(event.currentTarget.value)}
      />
      <div class="actions">
        <button type="submit">{t.use}</button>
        <label class="file">
          {t.file}
          <input type="file" accept="text/*,.txt,.md" onChange={(event) => use(event.currentTarget.files?.[0])} />
        </label>
        {typeof chosen === 'string' ? null : <span class="hint">{chosen.name}</span>}
      </div>
    </form>
  )
}
