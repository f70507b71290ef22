import type { Probe } from '../../analysis/index.ts'
import type { Runtime } from '../../index.ts'
import type { CausalLanguageModel, CausalLanguageModelOptions } from '../../nn/index.ts'
import { AdamW, cosineAnnealing, crossEntropy, train, type TrainOptions, type TrainStep } from '../../train/index.ts'
import { formatDuration, formatInteger, formatNumber } from '../terminal/format.ts'
import { ProgressBar } from '../terminal/progress-bar.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { wantsCopying } from './copying-start.ts'
import { LONG_ROWS } from './tasks/growing-lengths.ts'
import type { PreparedTask } from './tasks/prepared-task.ts'
import { runMetadata, writeWhole, type TrainFiles } from './train-files.ts'
import { logEntry, type TrainLog } from './train-log.ts'
import type { TrainSettings } from './train-settings.ts'

/** A run with everything that it needs. */
export interface Session {
  readonly settings: TrainSettings
  readonly task: PreparedTask
  readonly model: CausalLanguageModel
  readonly runtime: Runtime
  readonly files: TrainFiles
  readonly log: TrainLog
  readonly terminal: Terminal
  readonly signal: AbortSignal
  readonly resume?: Uint8Array
  /** measures heads on the way, where it was asked for */
  readonly probe?: Probe
}

const WARMUP = 100
const CLIP_NORM = 1

export function modelOptions(settings: TrainSettings, vocabulary: number): CausalLanguageModelOptions {
  const { layers, heads, modelDim, positions, dropout, seed, length } = settings
  const scaled = wantsCopying(settings) ? { scaleEmbeddings: true } : {}
  return {
    ...scaled,
    vocabulary,
    layers,
    heads,
    modelDim,
    positions,
    dropout,
    seed,
    activation: 'gelu',
    ...(positions === 'learned' ? { maxLength: length } : {}),
  }
}

/** Weights shrink; biases, norms and embeddings do not. */
function optimizerOf(model: CausalLanguageModel, { learningRate, weightDecay }: TrainSettings): AdamW {
  const match = (name: string, { shape }: { readonly shape: readonly number[] }): boolean =>
    shape.length < 2 || name.startsWith('embedding')
  return new AdamW(model, { learningRate, weightDecay, betas: [0.9, 0.99], groups: [{ match, weightDecay: 0 }] })
}

/**
 * Runs all steps; the model then has its best parameters. The checkpoint is saved with every evaluation, and when the
 * signal aborts.
 *
 * @returns the last step
 */
export async function trainSession(session: Session): Promise<TrainStep | undefined> {
  const { settings, log, terminal, signal, model, probe } = session
  const bar = new ProgressBar(terminal.err, '')
  const startMs = performance.now()
  let [last, made]: [TrainStep | undefined, number] = [undefined, 0]
  try {
    if (session.resume === undefined) await probe?.record(model, 0)
    for await (const step of train(model, trainOptions(session))) {
      last = step
      log.add(logEntry(step))
      if (probe?.isDue(step.step) === true) await probe.record(model, step.step)
      const elapsedMs = performance.now() - startMs
      const remainingMs = (elapsedMs / ++made) * (settings.steps - step.step)
      if (step.evaluation !== undefined) {
        bar.clear()
        printEvaluation(terminal, session, step, remainingMs)
        await log.flush()
      }
      bar.update({ done: step.step, total: settings.steps, elapsedMs, remainingMs }, describeStep(step))
    }
    return last
  } catch (error) {
    bar.clear()
    if (signal.aborted) await saveInterrupted(session, last)
    throw error
  } finally {
    bar.clear()
    await log.flush()
  }
}

/** A thousand answers in a row without a mistake need smaller last steps than a low loss does. */
function finalRate({ task, length, learningRate }: TrainSettings): number {
  return learningRate / (task === 'induction' && length > LONG_ROWS ? 100 : 10)
}

function trainOptions({ settings, task, model, runtime, signal, files, resume }: Session): TrainOptions {
  const { steps, evaluateEvery, seed } = settings
  const schedule = cosineAnnealing({
    steps,
    warmup: Math.min(WARMUP, Math.floor(steps / 10)),
    minimum: finalRate(settings),
  })
  return {
    ...{
      data: task.training,
      loss: crossEntropy(),
      optimizer: optimizerOf(model, settings),
      schedule,
      steps,
      seed,
      clipNorm: CLIP_NORM,
      runtime,
      signal,
    },
    evaluate: { every: evaluateEvery, data: task.validation, keepBest: true },
    checkpoint: {
      every: evaluateEvery,
      save: (bytes) => writeWhole(files.checkpoint, bytes),
      metadata: runMetadata(settings, task.dataHash, modelOptions(settings, task.vocabulary), task.pieces),
    },
    ...(resume === undefined ? {} : { resume }),
  }
}

/** Saves the last whole step, where this process made one, and says how to go on. */
async function saveInterrupted({ files, terminal, resume }: Session, last: TrainStep | undefined): Promise<void> {
  if (last !== undefined) {
    await writeWhole(files.checkpoint, last.checkpoint())
    terminal.note(`Saved after step ${formatInteger(last.step)}. To go on: ${resumeCommand(files)}`)
  } else if (resume === undefined) terminal.note('Stopped before the first step: nothing to save.')
  else terminal.note('Stopped before another step: the checkpoint is as it was.')
}

/** What a user types to go on. */
export function resumeCommand({ checkpoint }: TrainFiles): string {
  return `heddle train --resume ${/[^\w./-]/.test(checkpoint) ? `'${checkpoint}'` : checkpoint}`
}

/** `loss 2.31  rate 0.0012  norm 0.81  12,345 tokens/s`. */
function describeStep({ loss, learningRate, gradientNorm, tokensPerSecond }: TrainStep): string {
  return `loss ${loss.toFixed(3)}  rate ${formatNumber(learningRate)}  norm ${formatNumber(gradientNorm)}  ${formatInteger(tokensPerSecond)} tokens/s`
}

function printEvaluation(terminal: Terminal, { settings, task }: Session, step: TrainStep, remainingMs: number): void {
  const { evaluation } = step
  if (evaluation === undefined) return
  const left = step.step < settings.steps ? `, ${formatDuration(remainingMs)} left` : ''
  const beside = `chance ${task.baselines.chance.toFixed(3)}, bigram ${task.baselines.bigram.toFixed(3)}`
  terminal.line(
    `step ${formatInteger(step.step).padStart(6)}  ${describeStep(step)}  held out ${evaluation.loss.toFixed(3)} (${beside})${left}`,
  )
}
