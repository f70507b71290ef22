import { philoxWords } from '../../../src/core/philox.ts'
import { seedWords } from '../../../src/core/seed.ts'
import type { Tensor } from '../../../src/core/tensor.ts'
import { normal } from '../../../src/nn/initialisers.ts'
import { Module } from '../../../src/nn/module.ts'
import { Parameter } from '../../../src/program/parameter.ts'
import type { Batch } from '../../../src/train/batch.ts'
import type { GradientCall, GradientOptions, GradientResult } from '../../../src/train/gradient-call.ts'
import { countTargets, type CrossEntropy } from '../../../src/train/losses.ts'

/** logits = head · tanh(embedding[token]), in plain loops: a model small enough to differentiate by hand. */
export class TinyModel extends Module {
  readonly inputDim = 1
  readonly embedding: Parameter
  readonly head: Parameter

  constructor(
    readonly vocabulary = 6,
    readonly width = 4,
    readonly dropout = 0,
    seed = 1,
  ) {
    super()
    this.embedding = this.addParameter('embedding.weight', new Parameter([vocabulary, width]))
    this.head = this.addParameter('head.weight', new Parameter([vocabulary, width]))
    normal(this.embedding, seed, 0, 1)
    normal(this.head, seed + 1, 0, 0.5)
  }

  /** Only the plain loops below compute this model. */
  override build(): never {
    throw new TypeError('TinyModel: expected a call of tinyGradients')
  }
}

const NO_REPORT = {} as GradientResult['report']

/** What a call saw, for tests that ask. */
export interface SeenCall {
  readonly training: boolean
  readonly options: GradientOptions
  readonly batch: Batch
}

/** The loss and exact gradients of a TinyModel; `seen` gets every call. */
export function tinyGradients(seen: SeenCall[] = []): GradientCall {
  return async (module, batch, options) => {
    const model = module as TinyModel
    seen.push({ training: model.training, options, batch })
    options.signal?.throwIfAborted()
    await Promise.resolve()
    const rule = options.loss as CrossEntropy
    const { tokens, targets } = batch
    if (tokens === undefined || targets === undefined) throw new TypeError('expected tokens and targets')
    const counted = countTargets(rule, batch, [...tokens.shape, model.vocabulary])
    const sums = {
      embedding: new Float64Array(model.embedding.data.length),
      head: new Float64Array(model.head.data.length),
    }
    let loss = 0
    for (const [row, token] of tokens.data.entries()) {
      const target = targets.data[row] ?? 0
      if (target === rule.ignoreIndex || batch.mask?.data[row] === 0) continue
      loss += addRow(model, { token, target, keep: keptColumns(model, options, row) }, rule, sums) / counted
    }
    const named: [string, Float64Array, Parameter][] = [
      ['embedding.weight', sums.embedding, model.embedding],
      ['head.weight', sums.head, model.head],
    ]
    const wanted = named.filter(([name]) => options.only?.includes(name) ?? true)
    const gradients = new Map(
      wanted.map(([name, sum, { shape }]): [string, Tensor] => [
        name,
        { data: Float32Array.from(sum, (value) => value / counted), shape },
      ]),
    )
    return { loss, counted, gradients, report: NO_REPORT }
  }
}

/** 1, or 0 where dropout takes a column of this row. */
function keptColumns({ training, dropout, width }: TinyModel, { seed }: GradientOptions, row: number): number[] {
  if (!training || dropout === 0) return new Array<number>(width).fill(1)
  const words = new Uint32Array(4)
  return Array.from({ length: width }, (_, column) => {
    philoxWords(words, seedWords('seed', seed), row, column, 0, 0)
    return (words[0] ?? 0) / 2 ** 32 < dropout ? 0 : 1
  })
}

interface Row {
  readonly token: number
  readonly target: number
  readonly keep: readonly number[]
}

/** Adds a row's gradients to the sums. @returns its loss */
function addRow(
  { embedding, head, vocabulary, width }: TinyModel,
  { token, target, keep }: Row,
  { labelSmoothing }: CrossEntropy,
  sums: { embedding: Float64Array; head: Float64Array },
): number {
  const hidden = keep.map((factor, column) => factor * Math.tanh(embedding.data[token * width + column] ?? 0))
  const logits = Array.from({ length: vocabulary }, (_, item) =>
    hidden.reduce((sum, value, column) => sum + value * (head.data[item * width + column] ?? 0), 0),
  )
  const { loss, dLogits } = smoothedCrossEntropy(logits, target, labelSmoothing)
  dLogits.forEach((slope, item) => {
    for (let column = 0; column < width; column++) {
      const value = hidden[column] ?? 0
      sums.head[item * width + column]! += slope * value
      sums.embedding[token * width + column]! +=
        slope * (head.data[item * width + column] ?? 0) * (keep[column] ?? 0) * (1 - value * value)
    }
  })
  return loss
}

/** −Σ q·ln softmax(logits) and its gradient, softmax − q. */
export function smoothedCrossEntropy(
  logits: readonly number[],
  target: number,
  labelSmoothing: number,
): { readonly loss: number; readonly dLogits: number[] } {
  const largest = Math.max(...logits)
  const logSum = largest + Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit - largest), 0))
  const wanted = logits.map((_, item) => labelSmoothing / logits.length + (item === target ? 1 - labelSmoothing : 0))
  const loss = wanted.reduce((sum, share, item) => sum - share * ((logits[item] ?? 0) - logSum), 0)
  return { loss, dLogits: logits.map((logit, item) => Math.exp(logit - logSum) - (wanted[item] ?? 0)) }
}

/** Batch `index` of a language where token t is followed by t + 1, with some noise. */
export function tinyBatch(index: number, { rows = 8, vocabulary = 6 } = {}): Batch {
  const words = new Uint32Array(4)
  const tokens = new Int32Array(rows)
  const targets = new Int32Array(rows)
  for (let row = 0; row < rows; row++) {
    philoxWords(words, { seedLow: 7, seedHigh: 0 }, index, row, 0, 0)
    tokens[row] = (words[0] ?? 0) % vocabulary
    targets[row] = (words[1] ?? 0) % 8 === 0 ? (words[2] ?? 0) % vocabulary : ((tokens[row] ?? 0) + 1) % vocabulary
  }
  return { tokens: { data: tokens, shape: [2, rows / 2] }, targets: { data: targets, shape: [2, rows / 2] } }
}
