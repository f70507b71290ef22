import inductionUrl from '../../../models/induction.safetensors?url'
import namesUrl from '../../../models/names.safetensors?url'
import { batch, computed, effect, signal } from '@preact/signals'
import type { CausalLanguageModel } from 'heddle/nn'
import { host } from '../host.ts'
import { route } from '../route.ts'
import { trained } from '../train/train-state.ts'
import { inspectModel, type InspectedHead, type Inspection } from './inspect-model.ts'
import { openModel, openModelFile, type NamedModel } from './open-model.ts'
import { readInput, sampleSymbols, type Input } from './read-input.ts'

/** The models that come with Heddle. */
const SHIPPED = { names: namesUrl, induction: inductionUrl } as const
type Shipped = keyof typeof SHIPPED
/** A model of Heddle's, the one of the training view, or one from a file. */
export type Source = Shipped | 'own' | 'file'

const chosenSource = signal<Source | null>(null)
const loaded = signal<Readonly<Partial<Record<Shipped | 'file', NamedModel>>>>({})
export const text = signal('isabella')
export const symbols = signal('')
/** of a model that could not be had */
export const modelFailure = signal<unknown>(null)
export const analysisFailure = signal<unknown>(null)
export const isBusy = signal(false)
export const found = signal<Inspection | null>(null)
/** index into `found.heads` */
export const chosen = signal(0)
/** the token that attends */
export const row = signal(0)

/** Until the reader chooses, a model that this tab has trained goes before the one that comes with Heddle. */
export const source = computed<Source>(() => chosenSource.value ?? (trained.value === null ? 'names' : 'own'))

export const sources = computed<readonly Source[]>(() => [
  'names',
  'induction',
  ...(trained.value === null ? [] : (['own'] as const)),
  ...(loaded.value.file === undefined ? [] : (['file'] as const)),
])

const ownModel = computed<NamedModel | null>(() => {
  if (trained.value === null) return null
  const { model, names } = trained.value
  return { name: '', model, tokens: { kind: 'text', tokenizer: names.tokenizer, pieces: names.tokenizer.vocabulary } }
})

export const current = computed<NamedModel | null>(() =>
  source.value === 'own' ? ownModel.value : (loaded.value[source.value] ?? null),
)

export const fileName = computed(() => loaded.value.file?.name ?? '')

/** What the reader wrote, for the model that is chosen. */
export const input = computed<Input>(() => {
  const model = current.value
  if (model === null) return { kind: 'empty' }
  return readInput(model.tokens.kind === 'text' ? text.value : symbols.value, model.tokens)
})

let abort = new AbortController()
effect(() => {
  const [model, wanted] = [current.value, input.value]
  abort.abort(new DOMException('another input', 'AbortError'))
  abort = new AbortController()
  // A model in training is analyzed while someone looks.
  const isSeen = route.value.view === 'heads' && host.value.kind === 'ready'
  if (isSeen && model !== null && wanted.kind === 'tokens') void inspect(model, wanted, abort.signal)
  else isBusy.value = false
})

let sample = 0
/** Another sequence for a model of symbols. */
export function drawSymbols(): void {
  const tokens = current.peek()?.tokens
  if (tokens?.kind === 'symbols') symbols.value = sampleSymbols(tokens.size, sample++)
}

export function choose(next: Source): void {
  batch(() => {
    chosenSource.value = next
    modelFailure.value = null
  })
  void load()
}

/** Fetches the model that is chosen, once. */
export async function load(): Promise<void> {
  const wanted = source.peek()
  if (wanted === 'own' || wanted === 'file') return
  try {
    if (loaded.peek()[wanted] === undefined) {
      const response = await fetch(SHIPPED[wanted])
      if (!response.ok) throw new Error(`expected the ${wanted} model, got status ${response.status}`)
      keep(wanted, await openModel(wanted, new Uint8Array(await response.arrayBuffer())))
    }
    modelFailure.value = null
  } catch (error) {
    modelFailure.value = error
  }
}

export async function openFile(file: File): Promise<void> {
  try {
    keep('file', await openModelFile(file))
    choose('file')
  } catch (error) {
    modelFailure.value = error
  }
}

function keep(as: Shipped | 'file', model: NamedModel): void {
  batch(() => {
    loaded.value = { ...loaded.peek(), [as]: model }
    if (model.tokens.kind === 'symbols') symbols.value = sampleSymbols(model.tokens.size, sample++)
  })
}

let inspected: CausalLanguageModel | null = null

async function inspect(
  { model }: NamedModel,
  wanted: Extract<Input, { readonly kind: 'tokens' }>,
  signal: AbortSignal,
): Promise<void> {
  const state = host.peek()
  if (state.kind !== 'ready') return
  isBusy.value = true
  try {
    const inspection = await inspectModel(model, wanted, { runtime: state.runtime, signal })
    if (signal.aborted) return
    batch(() => {
      found.value = inspection
      if (inspected !== model) chosen.value = clearest(inspection.heads)
      inspected = model
      row.value = inspection.labels.length - 1
      analysisFailure.value = null
      isBusy.value = false
    })
  } catch (error) {
    if (signal.aborted) return
    batch(() => {
      found.value = null
      analysisFailure.value = error
      isBusy.value = false
    })
  }
}

/**
 * The head to begin with: one of induction, which is rare and worth a look, else the one whose role stands out most
 * from its baseline; the first one where none has a role.
 */
function clearest(heads: readonly InspectedHead[]): number {
  const strengths = heads.map(({ roles: [role] }) => {
    if (role === undefined) return 0
    return role.name === 'induction' ? Infinity : role.value / role.baseline
  })
  return strengths.indexOf(Math.max(...strengths))
}
