import { defaultRuntime } from '../attention/default-runtime.ts'
import type { Runtime } from '../attention/runtime.ts'
import { throwIfAborted } from '../core/abort.ts'
import { FormatError, NumericError, OptionError } from '../core/errors.ts'
import { seedWords } from '../core/seed.ts'
import type { AnyModule, StateDict } from '../nn/module.ts'
import { readBatch, type Batch } from './batch.ts'
import { readCheckpoint, writeCheckpoint, type Checkpoint, type Progress } from './checkpoint.ts'
import { clipFactor, gradientNorm } from './clip.ts'
import { BatchReader } from './data-source.ts'
import { LANES_PAY, type ElementReport } from './elements/run-elements.ts'
import { judge, meanLoss, type Evaluation } from './evaluation.ts'
import type { GradientCall } from './gradient-call.ts'
import { nonFiniteLoss } from './non-finite.ts'
import { describeDifferences, describeRun } from './run-description.ts'
import { saidIn } from './said-in.ts'
import { checkRate } from './schedules.ts'
import { stepGradients, type StepGradients } from './step-gradients.ts'
import type { ResolvedTraining } from './train-options.ts'

/** What `train` says after each step. */
export interface TrainStep {
  /** steps made so far, this one included */
  readonly step: number
  /** mean over the targets of the step's batches, before the update */
  readonly loss: number
  /** of all gradients together, before clipping */
  readonly gradientNorm: number
  /** of parameters that are in no group of their own */
  readonly learningRate: number
  /** how many targets counted */
  readonly counted: number
  /** of the step itself, without evaluation and checkpoint */
  readonly elapsedMs: number
  /** rows of the batches, padding included, over the elapsed time */
  readonly tokensPerSecond: number
  /** whether the update was left out because something was not finite; only with `skipNonFinite` */
  readonly skipped: boolean
  /** where one was due */
  readonly evaluation?: Evaluation
  /** of the gradients of the step's last batch */
  readonly report: unknown
  /** where the new parameters were computed, and how long that took; absent where the step was skipped */
  readonly update?: ElementReport
  /** The run after its last whole step, as the bytes of a safetensors file. */
  checkpoint(): Uint8Array
}

/** What an update says. */
interface Updated {
  /** of the gradients, before clipping */
  readonly norm: number
  readonly report: ElementReport
}

/** One run of `train`: what has to be carried from step to step. */
export class TrainingRun {
  #progress: Progress = { step: 0, batches: 0, evaluatedStep: 0, best: null, sinceBest: 0 }
  #bestParameters: StateDict | null = null
  #hasBestLoaded = false

  constructor(
    private readonly model: AnyModule,
    private readonly options: ResolvedTraining,
    private readonly call: GradientCall,
  ) {}

  async *steps(): AsyncGenerator<TrainStep, void, undefined> {
    const { data, signal, steps } = this.options
    throwIfAborted(signal)
    const reader = new BatchReader(data, signal)
    try {
      await this.#resume(reader)
      while (this.#progress.step < steps && !this.#isOutOfPatience) {
        const batches = await this.#draw(reader)
        if (batches.length === 0) break
        yield await this.#step(batches)
      }
      this.#loadBest()
    } catch (error) {
      await reader.close().catch(() => undefined)
      throw error
    } finally {
      await reader.close()
    }
  }

  get #isOutOfPatience(): boolean {
    return this.#progress.sinceBest >= (this.options.evaluate?.patience ?? Infinity)
  }

  /** Up to `accumulate` batches; fewer where the data ends. */
  async #draw(reader: BatchReader): Promise<Batch[]> {
    const batches: Batch[] = []
    while (batches.length < this.options.accumulate) {
      const given = await reader.next()
      if (given === undefined) break
      batches.push(readBatch(`train: batch ${this.#progress.batches + batches.length}`, given).batch)
    }
    if (batches.length === 0 && this.#progress.batches === 0)
      throw new OptionError('train: option data: expected at least one batch, got none')
    return batches
  }

  async #step(batches: readonly Batch[]): Promise<TrainStep> {
    const { optimizer, schedule } = this.options
    const startMs = performance.now()
    const { step: index } = this.#progress
    const learningRate: unknown = schedule(index, optimizer.learningRate)
    checkRate(`train: step ${index + 1}: learning rate`, learningRate)
    const result = await this.#gradients(batches)
    const updated = await this.#update(result)
    this.#progress = { ...this.#progress, step: index + 1, batches: this.#progress.batches + batches.length }
    const elapsedMs = performance.now() - startMs
    const rows = batches.reduce((sum, batch) => sum + (batch.tokens?.data.length ?? rowCount(batch)), 0)
    const evaluation = await this.#evaluateIfDue()
    await this.#saveIfDue()
    return {
      ...{
        step: index + 1,
        loss: result.loss,
        gradientNorm: updated?.norm ?? NaN,
        learningRate,
        counted: result.counted,
        elapsedMs,
      },
      ...{ tokensPerSecond: (rows / elapsedMs) * 1000, skipped: updated === undefined, report: result.report },
      ...(updated === undefined ? {} : { update: updated.report }),
      ...(evaluation === undefined ? {} : { evaluation }),
      checkpoint: () => this.#checkpoint(),
    }
  }

  /** Whether lanes may update the parameters: gradients are to stay in shared memory then. */
  get #isForLanes(): boolean {
    const { optimizer, only } = this.options
    return only.reduce((sum, name) => sum + (optimizer.parameters.get(name)?.data.length ?? 0), 0) >= LANES_PAY.update
  }

  async #laneRuntime(): Promise<{ readonly runtime?: Runtime }> {
    return this.#isForLanes ? { runtime: this.options.runtime ?? (await defaultRuntime()) } : {}
  }

  #gradients(batches: readonly Batch[]): Promise<StepGradients> {
    const { only, seed } = this.options
    return stepGradients({
      call: this.call,
      model: this.model,
      batches,
      options: { ...this.#callOptions, only, sharedGradients: this.#isForLanes },
      seed: seedWords('train: option seed', seed),
      index: this.#progress.step,
      firstBatch: this.#progress.batches,
    })
  }

  get #callOptions(): Pick<ResolvedTraining, 'loss'> & {
    readonly runtime?: NonNullable<ResolvedTraining['runtime']>
    readonly signal?: AbortSignal
  } {
    const { loss, runtime, signal } = this.options
    return { loss, ...(runtime === undefined ? {} : { runtime }), ...(signal === undefined ? {} : { signal }) }
  }

  /** Clips and updates. @returns the gradients' norm before; undefined where the step is skipped */
  async #update({ loss, gradients, batch }: StepGradients): Promise<Updated | undefined> {
    const { clipNorm, optimizer, schedule, signal, skipNonFinite, runtime } = this.options
    const { step: index } = this.#progress
    try {
      if (!Number.isFinite(loss))
        throw skipNonFinite
          ? new NumericError('skipped')
          : await nonFiniteLoss(index + 1, { loss, batch, model: this.model, runtime })
      const where = { ...(await this.#laneRuntime()), ...(signal === undefined ? {} : { signal }) }
      const norm = await gradientNorm(gradients, where)
      const report = await optimizer.step(gradients, {
        ...where,
        learningRate: (base) => schedule(index, base),
        gradientScale: clipNorm === undefined ? 1 : clipFactor(norm, clipNorm),
      })
      return { norm, report }
    } catch (error) {
      if (!(error instanceof NumericError)) throw error
      if (skipNonFinite) return undefined
      throw error.details['step'] === undefined
        ? new NumericError(`train: step ${index + 1}: ${error.message}`, {
            cause: error,
            details: { step: index + 1, ...error.details },
          })
        : error
    }
  }

  async #evaluateIfDue(): Promise<Evaluation | undefined> {
    const { evaluate } = this.options
    const { step } = this.#progress
    if (evaluate === undefined || !this.#isDue(evaluate.every) || this.#progress.evaluatedStep === step)
      return undefined
    const loss = await meanLoss(this.call, this.model, evaluate.data, this.#callOptions)
    const evaluation = judge(loss, step, this.#progress)
    if (evaluation.isBest && evaluate.keepBest) this.#bestParameters = copyOf(this.model)
    this.#progress = { ...this.#progress, evaluatedStep: step, best: evaluation.best, sinceBest: evaluation.sinceBest }
    return evaluation
  }

  /** Every so many steps, and at the last one. */
  #isDue(every: number): boolean {
    return this.#progress.step % every === 0 || this.#progress.step === this.options.steps
  }

  async #saveIfDue(): Promise<void> {
    const { checkpoint } = this.options
    const { step } = this.#progress
    if (checkpoint !== undefined && this.#isDue(checkpoint.every)) await checkpoint.save(this.#checkpoint(), step)
  }

  #checkpoint(): Uint8Array {
    if (this.#hasBestLoaded)
      throw new OptionError(
        'train: checkpoint: expected a run that goes on; this one has ended, and the model has its best parameters',
      )
    return writeCheckpoint({
      parameters: this.model.stateDict(),
      optimizer: this.options.optimizer.stateDict(),
      bestParameters: this.#bestParameters,
      progress: this.#progress,
      run: describeRun(this.options),
      metadata: this.options.checkpoint?.metadata ?? {},
    })
  }

  /** Takes over a checkpoint, all of it or nothing, and goes on where it was made. */
  async #resume(reader: BatchReader): Promise<void> {
    const { resume } = this.options
    if (resume === undefined) return
    const checkpoint = await readCheckpoint(resume).catch((error: unknown) => {
      throw saidIn('train: resume', error)
    })
    const before = copyOf(this.model)
    try {
      this.model.loadStateDict(checkpoint.parameters)
      this.#checkBest(checkpoint)
      this.#checkDescription(checkpoint)
      this.options.optimizer.loadStateDict(checkpoint.optimizer)
    } catch (error) {
      this.model.loadStateDict(before, { allowNonFinite: true })
      throw saidIn('train: resume', error)
    }
    this.#bestParameters = checkpoint.bestParameters
    this.#progress = checkpoint.progress
    const drawn = await reader.skip(checkpoint.progress.batches)
    if (drawn < checkpoint.progress.batches)
      throw new OptionError(
        `train: resume: expected data of at least ${checkpoint.progress.batches} batches, which the run had drawn before, got ${drawn}`,
      )
    // An abort may have come between a step and its evaluation.
    if (checkpoint.progress.step > 0) await this.#evaluateIfDue()
  }

  #checkDescription({ run }: Checkpoint): void {
    if (this.options.allowChangedOptions) return
    const differences = describeDifferences(run, describeRun(this.options))
    if (differences.length === 0) return
    throw new OptionError(
      `expected the options that the checkpoint was made with, or allowChangedOptions; ${differences.join('; ')}`,
      { details: { differences } },
    )
  }

  #checkBest({ bestParameters }: Checkpoint): void {
    const own = this.model.namedParameters()
    const wrong = Object.entries(bestParameters ?? {}).filter(
      ([name, { data }]) => own.get(name)?.data.length !== data.length,
    )
    if (wrong.length > 0 || (bestParameters !== null && Object.keys(bestParameters).length !== own.size))
      throw new FormatError('checkpoint: expected the best parameters to be those of the model')
  }

  #loadBest(): void {
    if (this.options.evaluate?.keepBest !== true || this.#bestParameters === null) return
    this.model.loadStateDict(this.#bestParameters, { allowNonFinite: true })
    this.#hasBestLoaded = true
  }
}

function copyOf(model: AnyModule): StateDict {
  return Object.fromEntries(
    [...model.namedParameters()].map(([name, { data, shape }]) => [name, { data: data.slice(), shape }]),
  )
}

function rowCount({ input }: Batch): number {
  return (input?.shape ?? []).slice(0, -1).reduce((product, size) => product * size, 1)
}
