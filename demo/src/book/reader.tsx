import { useRef } from 'preact/hooks'
import { formatInteger } from '../../../src/plots/format.ts'
import { levelOf } from '../../../src/plots/palette.ts'
import { text } from '../text/text.ts'
import { gaze, look, shownFrom, source, type Reading } from './book-state.ts'

/** Words per page: a screen full, and few enough elements for any phone. */
const PAGE_WORDS = 240

/** The text by pages; each word is a button that shows where it attends. */
export function Reader({ reading }: { readonly reading: Reading }) {
  const t = text.value.book
  const page = useRef<HTMLDivElement>(null)
  const count = reading.ids.length
  const from = Math.min(shownFrom.value, Math.max(0, count - 1))
  const to = Math.min(count, from + PAGE_WORDS)
  const current = gaze.value?.place ?? -1
  const stop = current >= from && current < to ? current : from
  const move = (event: KeyboardEvent): void => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 10, ArrowUp: -10 }[event.key]
    const place = Number((event.target as HTMLElement).dataset.place)
    if (step === undefined || Number.isNaN(place)) return
    event.preventDefault()
    page.current
      ?.querySelector<HTMLElement>(`[data-place="${Math.max(from, Math.min(to - 1, place + step))}"]`)
      ?.focus()
  }
  return (
    <section class="panel reader" aria-label={t.reader}>
      <Pager from={from} to={to} count={count} />
      <p class="hint">{t.click}</p>
      <div
        class="page"
        lang={source.value.kind === 'book' ? 'en' : undefined}
        ref={page}
        role="group"
        aria-label={t.reader}
        onKeyDown={move}
        onClick={(event) => clicked(event)}
      >
        {pieces(reading, from, to, stop)}
      </div>
    </section>
  )
}

function Pager({ from, to, count }: { readonly from: number; readonly to: number; readonly count: number }) {
  const t = text.value.book
  return (
    <div class="pager">
      <button
        type="button"
        class="quiet"
        disabled={from === 0}
        onClick={() => {
          shownFrom.value = Math.max(0, from - PAGE_WORDS)
        }}
      >
        {t.before}
      </button>
      <span>{t.range(formatInteger(from + 1), formatInteger(to), formatInteger(count))}</span>
      <button
        type="button"
        class="quiet"
        disabled={to >= count}
        onClick={() => {
          shownFrom.value = to
        }}
      >
        {t.after}
      </button>
    </div>
  )
}

function clicked(event: MouseEvent): void {
  const place = (event.target as HTMLElement).closest<HTMLElement>('[data-place]')?.dataset.place
  if (place !== undefined) void look(Number(place))
}

/** Words as buttons with the text between them as it stands; the looked-at weights as shades behind them. */
function pieces(
  { text: whole, starts, ends, ids }: Reading,
  from: number,
  to: number,
  stop: number,
): preact.ComponentChild[] {
  const current = gaze.value
  const largest = current?.top[0]?.weight ?? 0
  const parts: preact.ComponentChild[] = []
  for (let place = from; place < to; place++) {
    const weight = current?.weights[place] ?? 0
    const level = current === null || largest === 0 ? 0 : levelOf(Math.sqrt(weight / largest), [0, 1])
    const shade = current?.place === place ? 'self' : level > 1 ? `shade shade-${Math.ceil(level / 4)}` : ''
    parts.push(
      <button
        key={place}
        type="button"
        data-place={place}
        tabIndex={place === stop ? 0 : -1}
        class={shade}
        aria-pressed={current?.place === place}
      >
        {whole.slice(starts[place], ends[place])}
      </button>,
      gap(whole.slice(ends[place], place + 1 < ids.length ? starts[place + 1] : whole.length)),
    )
  }
  return parts
}

/** A blank line ends a paragraph; other breaks are spaces. */
function gap(between: string): preact.ComponentChild {
  const paragraphs = between.split(/\n\s*\n/)
  return paragraphs.length === 1
    ? between.replaceAll(/\s+/g, ' ')
    : paragraphs.flatMap((part, index) => (index === 0 ? [part] : [<span class="break" />, part]))
}
