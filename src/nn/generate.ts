import { checkFunction, checkInteger, checkNames, expected } from '../core/check.ts'
import { OptionError, ShapeError } from '../core/errors.ts'
import { formatShape, type Tensor } from '../core/tensor.ts'
import { checkForward, FORWARD_NAMES, runForward, type ForwardOptions } from './forward-options.ts'
import type { KeyValueCache } from './key-value-cache.ts'
import type { CausalLanguageModel } from './layers/causal-language-model.ts'
import { sampleToken, type SamplingRule } from './sampling.ts'
import { seedWords } from '../core/seed.ts'
import { RowBuffer } from './stage/buffers.ts'
import { StageBuilder } from './stage/stage-builder.ts'

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

const NAMES = ['maxNewTokens', 'temperature', 'topK', 'stopToken', 'onToken']

/** Prefill with the prompt, then one row a step. */
export async function generateTokens(model: CausalLanguageModel, prompt: Tensor<Int32Array>, options: GenerateOptions): Promise<Tensor<Int32Array>> {
  const rule = checkOptions(model, options)
  const { batch, rows } = model.embedding.tokenRows('generate: prompt', prompt)
  if (rows < 1) throw new ShapeError(`generate: expected a prompt of at least one token, got ${formatShape(prompt.shape)}`)
  const capacity = rows + options.maxNewTokens
  const tokens = new Int32Array(batch * capacity).fill(options.stopToken ?? 0)
  for (let b = 0; b < batch; b++) tokens.set(prompt.data.subarray(b * rows, (b + 1) * rows), b * capacity)
  const caches = model.createCaches(batch, capacity)
  const forward = Object.fromEntries(FORWARD_NAMES.filter((name) => name !== 'seed').map((name) => [name, (options as ForwardOptions)[name]]))
  const running = new Set(Array.from({ length: batch }, (_, b) => b))
  let next: Tensor<Int32Array> = { data: prompt.data, shape: [batch, rows] }
  for (let position = rows; position < capacity && running.size > 0; position++) {
    options.signal?.throwIfAborted()
    const logits = await lastLogits(model, next, caches, forward)
    const chosen = new Int32Array(batch)
    for (const b of [...running]) {
      const token = sampleToken(logits.subarray(b * model.vocabulary, (b + 1) * model.vocabulary), rule, position, b)
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
async function lastLogits(model: CausalLanguageModel, tokens: Tensor<Int32Array>, caches: readonly KeyValueCache[], options: ForwardOptions): Promise<Float32Array> {
  const [batch = 0, rows = 0] = tokens.shape
  const { data: hidden } = await runForward(model.build(tokens, caches, null, false), options, [])
  for (const cache of caches) cache.grow(rows)
  const last = new Float32Array(batch * model.modelDim)
  for (let b = 0; b < batch; b++) {
    const start = (b * rows + rows - 1) * model.modelDim
    last.set(hidden.subarray(start, start + model.modelDim), b * model.modelDim)
  }
  const builder = new StageBuilder('head', batch, 1)
  const output = new RowBuffer('logits', batch, 1, model.vocabulary)
  builder.store(model.applyHead(builder, builder.load(new RowBuffer('last rows', batch, 1, model.modelDim, last))), output)
  return (await runForward({ parts: [builder.finish()], output }, options, [])).data
}

function checkOptions(model: CausalLanguageModel, options: GenerateOptions): SamplingRule {
  checkNames('generate: options', options, [...FORWARD_NAMES, ...NAMES])
  const { maxNewTokens, temperature = 0, topK = 0, stopToken, onToken, seed, runtime, signal, trace } = options
  checkForward('generate', { ...(runtime === undefined ? {} : { runtime }), ...(signal === undefined ? {} : { signal }), ...(trace === undefined ? {} : { trace }) })
  checkInteger('generate: option maxNewTokens', maxNewTokens, 1)
  if (typeof temperature !== 'number' || !(temperature >= 0 && temperature < Infinity)) throw expected('generate: option temperature', 'a number ≥ 0', temperature)
  checkInteger('generate: option topK', topK, 0)
  if (stopToken !== undefined) checkInteger('generate: option stopToken', stopToken, 0, model.vocabulary - 1)
  if (onToken !== undefined) checkFunction('generate: option onToken', onToken)
  if (temperature > 0 && seed === undefined) throw new OptionError('generate: expected option seed with a temperature above 0, got none')
  return { temperature, topK, seed: seed === undefined ? null : seedWords('generate: option seed', seed) }
}
