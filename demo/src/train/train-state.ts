import { batch, computed, signal } from '@preact/signals'
import { CausalLanguageModel } from 'heddle/nn'
import { AdamW, crossEntropy, train, type TrainStep } from 'heddle/train'
import { runtimeNow } from '../host.ts'
import { turn } from '../turn.ts'
import { inspectModel, type InspectedHead } from '../heads/inspect-model.ts'
import { loadNames, type NamesData } from './names-data.ts'
import { EDGE } from './names-format.ts'

export const STEPS = 600
const EVERY = 25
const WARMUP = 30
const MODEL = { layers: 2, heads: 4, modelDim: 64, activation: 'gelu', seed: 1 } as const
const SAMPLES = 12
const LONGEST = 14
const TEMPERATURE = 0.8
/** The name whose attention is watched. */
export const WATCHED = 'anastasia'
/** How often the curves are drawn. */
const DRAW_EVERY_MS = 150

export type TrainState = 'empty' | 'loading' | 'running' | 'paused' | 'finished' | 'stopped' | 'failed'

export interface Point {
  readonly step: number
  readonly loss: number
}

/** A name that the model wrote, and whether it is on a list. */
export interface Sample {
  readonly name: string
  readonly origin: 'known' | 'heldOut' | 'new'
}

/** What the heads do after some steps. */
export interface Snapshot {
  readonly step: number
  readonly heads: readonly InspectedHead[]
}

export const state = signal<TrainState>('empty')
export const failure = signal<unknown>(null)
export const rate = signal(3e-3)
export const data = signal<NamesData | null>(null)
export const points = signal<readonly Point[]>([])
export const heldOut = signal<readonly Point[]>([])
export const last = signal<Pick<TrainStep, 'step' | 'loss' | 'gradientNorm' | 'tokensPerSecond'> | null>(null)
export const samples = signal<readonly Sample[]>([])
export const snapshots = signal<readonly Snapshot[]>([])
/** the model that is trained, for the other views */
export const trained = signal<{ readonly model: CausalLanguageModel; readonly names: NamesData } | null>(null)
export const isActive = computed(() => ['loading', 'running', 'paused'].includes(state.value))

let abort = new AbortController()
let resume: (() => void) | null = null

/** Trains a new model from its first step. */
export async function start(): Promise<void> {
  const { signal: aborted } = (abort = new AbortController())
  batch(() => {
    state.value = 'loading'
    for (const list of [points, heldOut, samples, snapshots]) list.value = []
    last.value = null
  })
  try {
    const names = (data.value ??= await loadNames())
    // The data, the model and the first call are tasks of their own: frames go between them.
    await turn()
    const model = new CausalLanguageModel({ ...MODEL, vocabulary: names.tokenizer.size })
    await turn()
    state.value = 'running'
    await loop(model, names, aborted)
    state.value = 'finished'
  } catch (error) {
    if (!aborted.aborted) failure.value = error
    state.value = aborted.aborted ? 'stopped' : 'failed'
  }
}

export function pause(): void {
  if (state.value === 'running') state.value = 'paused'
}

export function goOn(): void {
  if (state.value !== 'paused') return
  state.value = 'running'
  resume?.()
}

export function stop(): void {
  abort.abort(new DOMException('stopped', 'AbortError'))
  resume?.()
}

async function loop(model: CausalLanguageModel, names: NamesData, aborted: AbortSignal): Promise<void> {
  const optimizer = new AdamW(model, { learningRate: rate.value, weightDecay: 0.1, betas: [0.9, 0.99] })
  const runtime = runtimeNow()
  const steps = train(model, {
    ...{
      data: names.training,
      loss: crossEntropy({ ignoreIndex: -100 }),
      optimizer,
      steps: STEPS,
      clipNorm: 1,
      seed: 1,
      runtime,
      signal: aborted,
    },
    // The rate is asked for at every step, so that the reader can change it meanwhile.
    schedule: (step) => rate.peek() * Math.min(1, (step + 1) / WARMUP),
    evaluate: { every: EVERY, data: names.validation },
  })
  await observe(model, names, 0, aborted)
  const losses: Point[] = []
  let drawnMs = 0
  for await (const step of steps) {
    losses.push({ step: step.step, loss: step.loss })
    if (performance.now() - drawnMs > DRAW_EVERY_MS || step.step === STEPS) {
      drawnMs = performance.now()
      batch(() => {
        points.value = [...losses]
        last.value = step
      })
    }
    if (step.evaluation !== undefined) {
      heldOut.value = [...heldOut.value, { step: step.step, loss: step.evaluation.loss }]
      await observe(model, names, step.step, aborted)
    }
    if (state.peek() === 'paused') await new Promise<void>((resolve) => (resume = resolve))
    aborted.throwIfAborted()
  }
}

/** What the model writes and what its heads do, after `step` steps. */
async function observe(
  model: CausalLanguageModel,
  names: NamesData,
  step: number,
  aborted: AbortSignal,
): Promise<void> {
  const runtime = runtimeNow()
  const edge = names.tokenizer.encode(EDGE)[0] ?? 0
  const prompt = { data: new Int32Array(SAMPLES).fill(edge), shape: [SAMPLES, 1] }
  const { data: tokens } = await model.generate(prompt, {
    maxNewTokens: LONGEST,
    temperature: TEMPERATURE,
    seed: step,
    stopToken: edge,
    runtime,
    signal: aborted,
  })
  const written = Array.from({ length: SAMPLES }, (_, row) =>
    names.tokenizer.decode(tokens.subarray(row * (LONGEST + 1), (row + 1) * (LONGEST + 1))).replaceAll(EDGE, ''),
  )
  const { heads } = await inspectModel(
    model,
    { tokens: names.tokenizer.encode(EDGE + WATCHED), labels: [EDGE, ...WATCHED] },
    { runtime, signal: aborted, rollout: false },
  )
  batch(() => {
    samples.value = written
      .filter((name) => name !== '')
      .map((name) => ({ name, origin: names.known.has(name) ? 'known' : names.heldOut.has(name) ? 'heldOut' : 'new' }))
    snapshots.value = [...snapshots.value, { step, heads }]
    trained.value = { model, names }
  })
  // The pictures are drawn now; the next step is a task of its own.
  await turn()
}
