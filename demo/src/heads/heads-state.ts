import shippedUrl from '../../../models/names.safetensors?url'
import { computed, effect, signal } from '@preact/signals'
import { host } from '../host.ts'
import { headWeights, type HeadWeights } from '../train/head-weights.ts'
import { EDGE } from '../train/names-data.ts'
import { trained } from '../train/train-state.ts'
import { openModel, type NamedModel } from './open-model.ts'

/** The name of the model that comes with Heddle. */
export const SHIPPED = 'names'
/** Of an input: a matrix per head is shown in full. */
export const LONGEST_INPUT = 48

const opened = signal<NamedModel | null>(null)
const shipped = signal<NamedModel | null>(null)
export const input = signal('isabella')
export const failure = signal<unknown>(null)
/** index into `found.heads` */
export const chosen = signal(0)
/** the token that attends */
export const row = signal(-1)
export const found = signal<{ readonly labels: readonly string[]; readonly heads: readonly HeadWeights[] } | null>(null)

/**
 * A file that was opened goes before the model of the training view, and that before the one that comes with Heddle.
 */
export const current = computed<NamedModel | null>(() => {
  if (opened.value !== null) return opened.value
  const own = trained.value
  return own === null
    ? shipped.value
    : { name: '', model: own.model, tokenizer: own.names.tokenizer, pieces: own.names.tokenizer.vocabulary }
})

/** The characters of the input that the model has no token for. */
export const unknown = computed(() => {
  const model = current.value
  return model === null
    ? []
    : [...new Set(input.value)].filter((character) => !model.pieces.some((piece) => piece.includes(character)))
})

let asked = 0
effect(() => {
  const model = current.value
  const text = input.value
  if (model !== null && host.value.kind === 'ready' && unknown.value.length === 0 && text !== '')
    void compute(model, text, ++asked)
})

/** Fetches the names model, once. */
export async function loadShipped(): Promise<void> {
  if (current.peek() !== null) return
  try {
    const response = await fetch(shippedUrl)
    if (!response.ok) throw new Error(`expected the names model, got status ${response.status}`)
    shipped.value = await openModel(SHIPPED, new Uint8Array(await response.arrayBuffer()))
  } catch (error) {
    failure.value = error
  }
}

export async function openFile(file: File): Promise<void> {
  try {
    opened.value = await openModel(file.name, new Uint8Array(await file.arrayBuffer()))
    failure.value = null
  } catch (error) {
    failure.value = error
  }
}

async function compute(named: NamedModel, text: string, number: number): Promise<void> {
  const state = host.peek()
  if (state.kind !== 'ready') return
  try {
    // Names begin with their edge, as in training.
    const begun = named.pieces.includes(EDGE) ? EDGE + text : text
    const tokens = named.tokenizer.encode(begun)
    const heads = await headWeights(named.model, tokens, state.runtime)
    if (number !== asked) return
    found.value = { labels: Array.from(tokens, (token) => shown(named.pieces[token] ?? '?')), heads }
    chosen.value = Math.min(chosen.peek(), heads.length - 1)
    row.value = tokens.length - 1
    failure.value = null
  } catch (error) {
    failure.value = error
  }
}

/** A token as it can be seen. */
function shown(piece: string): string {
  return piece === EDGE ? '⏎' : piece === ' ' ? '␣' : piece
}
