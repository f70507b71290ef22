// Compiled, never run: the type of a result follows the options. `npm run typecheck` and the matrix compile it.
import {
  attention,
  mergePartials,
  type AttentionOptions,
  type AttentionResult,
  type Runtime,
  type Tensor,
} from 'heddle'
import type { MultiHeadAttention } from 'heddle/nn'

export async function ofAttention(runtime: Runtime, x: Tensor, options: AttentionOptions): Promise<void> {
  const inputs = { query: x, key: x, value: x }

  const all = await attention(inputs, { returnWeights: true, returnLogSumExp: true, returnStatistics: true, scale: 1 })
  const weights: Tensor = all.weights
  const maxIndex: Tensor<Int32Array> = all.statistics.maxIndex
  const logSumExp: Tensor = all.logSumExp

  const chosen = await runtime.attention(inputs, { returnWeights: { heads: [0], rows: [1, 2] } })
  const some: Tensor = chosen.weights

  const parts = [await runtime.attention(inputs, { returnLogSumExp: true })]
  const merged: Tensor = mergePartials(parts).output

  const plain: AttentionResult = await attention(inputs)
  const unknown = await runtime.attention(inputs, options)
  const maybe: Tensor | undefined = unknown.weights
  // @ts-expect-error: not asked for
  const missing: Tensor = (await attention(inputs, { causal: true })).weights
  // @ts-expect-error: nobody knows what these options ask for
  const uncertain: Tensor = unknown.weights
  // @ts-expect-error: asked for or not
  const asked: Tensor = (await attention(inputs, { returnWeights: options.causal ?? false })).weights
  // @ts-expect-error: partials need a logSumExp
  mergePartials([await attention(inputs)])
  // @ts-expect-error: no such option
  await attention(inputs, { casual: true, returnWeights: true })

  console.log(weights, maxIndex, logSumExp, some, merged, plain, maybe, missing, uncertain, asked)
}

export async function ofLayers(layer: MultiHeadAttention, x: Tensor): Promise<void> {
  const weights: Tensor = (await layer.forward(x, { returnWeights: true, averageWeights: true })).weights
  // @ts-expect-error: not asked for
  const missing: Tensor = (await layer.forward(x)).weights
  console.log(weights, missing)
}
