import { createHash } from 'node:crypto'
import type { Runtime } from '../../../index.ts'
import type { CausalLanguageModel } from '../../../nn/index.ts'
import type { Baselines, Batch } from '../../../train/index.ts'

/** What a trained model is asked at the end. */
export interface Trained {
  readonly model: CausalLanguageModel
  readonly runtime: Runtime
  readonly signal: AbortSignal
  readonly seed: number
  /** the smallest held-out loss, with which the model's parameters were kept */
  readonly loss: number
}

/** A line of the verdict. */
export interface Finding {
  readonly name: string
  readonly passed: boolean
  readonly detail: string
}

export interface Outcome {
  readonly findings: readonly Finding[]
  /** said above the samples */
  readonly note: string
  /** what the model wrote */
  readonly samples: readonly string[]
}

/** A task with its data: what a run needs of it. */
export interface PreparedTask {
  /** how many tokens there are */
  readonly vocabulary: number
  /** the text of each token, where tokens are text */
  readonly pieces: readonly string[] | null
  /** of the data, as a hash: a resumed run must find the same */
  readonly dataHash: string
  /** said before the run */
  readonly facts: readonly string[]
  readonly training: (index: number) => Batch
  readonly validation: readonly Batch[]
  readonly baselines: Baselines
  readonly finish: (trained: Trained) => Promise<Outcome>
}

/** The held-out loss beside the best of the simple models. */
export function againstBigram(loss: number, { bigram }: Baselines): Finding {
  return {
    name: 'held-out loss below the bigram baseline',
    passed: loss < bigram,
    detail: `${loss.toFixed(3)} against ${bigram.toFixed(3)} nats per token`,
  }
}

export function hashOf(data: string | Uint8Array): string {
  return `sha256:${createHash('sha256').update(data).digest('hex')}`
}
