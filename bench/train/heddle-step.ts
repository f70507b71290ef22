import type * as Heddle from 'heddle'
import type * as HeddleNn from 'heddle/nn'
import type * as HeddleTrain from 'heddle/train'
import { LEARNING_RATE, type StepContender, type StepProblem } from './step-problem.ts'

export interface HeddleModules {
  readonly core: typeof Heddle
  readonly train: typeof HeddleTrain
}

/** What a step of Heddle says of itself. */
export interface StepDetails {
  /** time of all lanes together, by kind of work */
  readonly work: Readonly<Record<string, number>>
  /** of the run over the lanes, and of the update, on the calling thread */
  readonly runMs: number
  readonly updateMs: number
  /** what the allocator saw beside what the plan said */
  readonly peakBytes: number
  readonly plannedBytes: number
}

export interface HeddleStep extends StepContender {
  readonly details: () => StepDetails
}

/** The model in Heddle, by the public API. @param workers 1: one thread computes */
export async function heddleStep(
  { core, train }: HeddleModules,
  model: HeddleNn.CausalLanguageModel,
  problem: StepProblem,
  workers: number,
): Promise<HeddleStep> {
  const { createRuntime } = core
  const { Adam, crossEntropy, lossAndGradients } = train
  const { batch, tokens: length } = problem.sizes
  const runtime = await createRuntime({ workers, backend: 'wasm' })
  const optimizer = new Adam(model, { learningRate: LEARNING_RATE })
  const shape = [batch, length]
  const inputs = { tokens: { data: problem.tokens, shape }, targets: { data: problem.targets, shape } }
  const loss = crossEntropy()
  let details: StepDetails | undefined
  return {
    step: async () => {
      const result = await lossAndGradients(model, inputs, { loss, runtime })
      const startMs = performance.now()
      await optimizer.step(result.gradients)
      const { work, elapsedMs, memory } = result.report
      details = {
        work: Object.fromEntries(work.map(({ what, ms }) => [what, ms])),
        runMs: elapsedMs,
        updateMs: performance.now() - startMs,
        peakBytes: memory.peakBytes,
        plannedBytes: memory.plannedBytes,
      }
      return result.loss
    },
    details: () => {
      if (details === undefined) throw new Error('heddle: expected a step before its details')
      return details
    },
    close: () => runtime.close(),
  }
}
