import { formatInteger } from '../../../src/plots/format.ts'
import { placeStrip } from '../../../src/plots/place-strip.ts'
import { Plot } from '../parts/plot.tsx'
import { Facts, Failure } from '../parts/controls.tsx'
import { text } from '../text/text.ts'
import { gaze, gazeFailure, look, shownFrom, source, type Gaze, type Reading } from './book-state.ts'

/** Words to each side of a place in the list. */
const CONTEXT = 5
/** Words before a place that one jumps to. */
const LEAD_IN = 60

/** Where the chosen word attends: along the whole text, and the places with the largest weights. */
export function GazePanel({ reading }: { readonly reading: Reading }) {
  const t = text.value.book
  const current = gaze.value
  if (current === null)
    return (
      <section class="panel gaze" aria-label={t.gaze}>
        <h2>{t.gaze}</h2>
        {gazeFailure.value === null ? null : <Failure title={t.noWeights} error={gazeFailure.value} />}
        <p class="hint">{t.noGaze}</p>
      </section>
    )
  const word = wordAt(reading, current.place)
  const title = t.where(word)
  return (
    <section class="panel gaze" aria-label={t.gaze} aria-live="polite">
      <h2>{title}</h2>
      {gazeFailure.value === null ? null : <Failure title={t.noWeights} error={gazeFailure.value} />}
      <Plot
        title={t.strip(formatInteger(current.place + 1))}
        draw={(options) =>
          placeStrip({ title, weights: current.weights, from: current.place, x: t.stripX, y: t.weight }, options)
        }
      />
      <Facts
        items={[
          [t.self, percent(current.weights[current.place] ?? 0)],
          [t.entropy, `${current.entropy.toFixed(2)} nats`],
          [t.effective, Math.exp(current.entropy).toFixed(1)],
        ]}
      />
      <Places reading={reading} top={current.top} />
      <p class="hint">{t.vectors}</p>
    </section>
  )
}

/** The places with the largest weights, with the words around them. */
function Places({ reading, top }: { readonly reading: Reading; readonly top: Gaze['top'] }) {
  return (
    <ol class="places" lang={source.value.kind === 'book' ? 'en' : undefined}>
      {top.map(({ place, weight }) => (
        <li key={place}>
          <button
            type="button"
            onClick={() => {
              shownFrom.value = Math.max(0, place - LEAD_IN)
              void look(place)
            }}
          >
            <span class="weight">{percent(weight)}</span>
            <span class="snippet">
              {around(reading, place, -CONTEXT)}
              <mark>{wordAt(reading, place)}</mark>
              {around(reading, place, CONTEXT)}
            </span>
            <span class="at">{formatInteger(place + 1)}</span>
          </button>
        </li>
      ))}
    </ol>
  )
}

function wordAt({ text: whole, starts, ends }: Reading, place: number): string {
  return whole.slice(starts[place], ends[place])
}

/** The text beside a place, `words` words long. */
function around({ text: whole, starts, ends, ids }: Reading, place: number, words: number): string {
  const other = Math.max(0, Math.min(ids.length - 1, place + words))
  return (words < 0 ? whole.slice(starts[other], starts[place]) : whole.slice(ends[place], ends[other])).replaceAll(
    /\s+/g,
    ' ',
  )
}

function percent(weight: number): string {
  return weight >= 0.001 ? `${(weight * 100).toFixed(1)} %` : '< 0.1 %'
}
