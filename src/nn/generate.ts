import { throwIfAborted } from '../core/abort.ts'
import { checkFunction, checkInteger, checkNames, expected } from '../core/check.ts'
import { NumericError, OptionError, ShapeError } from '../core/errors.ts'
import { formatShape, type Tensor } from '../core/tensor.ts'
import { checkForward, FORWARD_NAMES, type ForwardOptions } from './forward-options.ts'
import { appendRows, type KeyValueCache } from './key-value-cache.ts'
import { sampleToken, type SamplingRule } from './sampling.ts'
import { seedWords } from '../core/seed.ts'
import { defaultRuntime } from '../attention/default-runtime.ts'
import { Graph } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'
import { readTokens, tokensOf } from './layers/embedding.ts'
import { runForward } from './run-forward.ts'

export interface GenerateOptions extends Omit<ForwardOptions, 'chunkSize' | 'monitorNorms'> {
  readonly maxNewTokens: number
  /** 0 always takes the likeliest token; above, tokens are drawn, and `seed` is needed. @default 0 */
  readonly temperature?: number
  /** Draw among the k likeliest only. @default all */
  readonly topK?: number
  /** A sequence ends with this token; it fills the row's rest while others go on. */
  readonly stopToken?: number
  /** Hears of each token as it is chosen. */
  readonly onToken?: (token: { readonly batch: number; readonly position: number; readonly token: number }) => void
}

/** What generation asks of a model. */
export interface DecoderModel {
  readonly vocabulary: number
  readonly modelDim: number
  createCaches(batch: number, capacity: number): KeyValueCache[]
  buildHidden(graph: Graph, tokens: Value, options: { readonly caches?: readonly KeyValueCache[] }): Value
  buildHead(graph: Graph, hidden: Value): Value
}

const NAMES = ['maxNewTokens', 'temperature', 'topK', 'stopToken', 'onToken']

/**
 * Prefill with the prompt, then one row per step.
 *
 * @throws {NumericError} where a logit is NaN or +∞: a model that holds NaN, or whose activations overflow
 */
export async function generateTokens(model: DecoderModel, given: Tensor<Int32Array>, givenOptions: GenerateOptions): Promise<Tensor<Int32Array>> {
  const options = checkNames('generate: options', givenOptions, [...FORWARD_NAMES, ...NAMES])
  const rule = checkOptions(model, options)
  const prompt = readTokens('generate: prompt', given, model.vocabulary)
  const [rows = 0, batch = 1] = prompt.shape.toReversed()
  if (rows < 1) throw new ShapeError(`generate: expected a prompt of at least one token, got ${formatShape(prompt.shape)}`)
  const capacity = rows + options.maxNewTokens
  const tokens = new Int32Array(batch * capacity).fill(options.stopToken ?? 0)
  for (let b = 0; b < batch; b++) tokens.set(prompt.data.subarray(b * rows, (b + 1) * rows), b * capacity)
  const caches = model.createCaches(batch, capacity)
  const forward = Object.fromEntries(FORWARD_NAMES.filter((name) => name !== 'seed').map((name) => [name, (options as ForwardOptions)[name]]))
  const running = new Set(Array.from({ length: batch }, (_, b) => b))
  let next: Tensor<Int32Array> = { data: prompt.data, shape: [batch, rows] }
  for (let position = rows; position < capacity && running.size > 0; position++) {
    throwIfAborted(options.signal)
    const logits = await lastLogits(model, next, caches, forward)
    const chosen = new Int32Array(batch)
    for (const b of [...running]) {
      const row = logits.subarray(b * model.vocabulary, (b + 1) * model.vocabulary)
      checkLogits(row, b, position)
      const token = sampleToken(row, rule, position, b)
      chosen[b] = token
      tokens[b * capacity + position] = token
      options.onToken?.({ batch: b, position, token })
      if (token === options.stopToken) running.delete(b)
    }
    next = { data: chosen, shape: [batch, 1] }
  }
  return { data: tokens, shape: prompt.shape.length === 1 ? [capacity] : [batch, capacity] }
}

/** Runs the tokens behind what the caches hold; the logits of each batch's last row. */
async function lastLogits(model: DecoderModel, tokens: Tensor<Int32Array>, caches: readonly KeyValueCache[], options: ForwardOptions): Promise<Float32Array> {
  const [batch = 0, rows = 0] = tokens.shape
  const runtime = options.runtime ?? (await defaultRuntime())
  const { data } = await appendRows(caches, rows, options.signal, () => {
    const graph = new Graph({ position: caches[0]?.length ?? 0 })
    const output = model.buildHidden(graph, tokensOf(graph, 'generate', tokens.shape, tokens.data), { caches })
    return runForward(graph, output, runtime, options, [])
  })
  const hidden = data[0] as Float32Array
  const last = new Float32Array(batch * model.modelDim)
  for (let b = 0; b < batch; b++) {
    const start = (b * rows + rows - 1) * model.modelDim
    last.set(hidden.subarray(start, start + model.modelDim), b * model.modelDim)
  }
  const head = new Graph()
  const logits = model.buildHead(head, head.input('last rows', { batch, rows: 1, width: model.modelDim }, last))
  return (await runForward(head, logits, runtime, options, [])).data[0] as Float32Array
}

/** @throws {NumericError} where no token is the likeliest. −∞ is a token that never comes, but one of them must. */
function checkLogits(logits: Float32Array, batch: number, position: number): void {
  let wrong = logits.findIndex((logit) => !(logit < Infinity))
  if (wrong < 0 && logits.every((logit) => logit === -Infinity)) wrong = 0
  if (wrong < 0) return
  const where = `token ${wrong} at position ${position} of batch ${batch}`
  throw new NumericError(`generate: expected finite logits, got ${logits[wrong]} for ${where}`, { details: { batch, position, token: wrong } })
}

function checkOptions(model: DecoderModel, options: GenerateOptions): SamplingRule {
  const { maxNewTokens, temperature = 0, topK = 0, stopToken, onToken, seed, runtime, signal, priority, trace } = options
  checkForward('generate', { ...(runtime === undefined ? {} : { runtime }), ...(signal === undefined ? {} : { signal }), ...(priority === undefined ? {} : { priority }), ...(trace === undefined ? {} : { trace }) })
  checkInteger('generate: option maxNewTokens', maxNewTokens, 1)
  if (typeof temperature !== 'number' || !(temperature >= 0 && temperature < Infinity)) throw expected('generate: option temperature', 'a number ≥ 0', temperature)
  checkInteger('generate: option topK', topK, 0)
  if (stopToken !== undefined) checkInteger('generate: option stopToken', stopToken, 0, model.vocabulary - 1)
  if (onToken !== undefined) checkFunction('generate: option onToken', onToken)
  if (temperature > 0 && seed === undefined) throw new OptionError('generate: expected option seed with a temperature above 0, got none')
  return { temperature, topK, seed: seed === undefined ? null : seedWords('generate: option seed', seed) }
}
