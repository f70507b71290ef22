import type { Runtime } from 'heddle'
import type { CausalLanguageModel } from 'heddle/nn'

/** The attention weights of one head over one sequence, [n, n] by rows; NaN where the mask hides the key. */
export interface HeadWeights {
  readonly layer: number
  readonly head: number
  readonly size: number
  readonly values: Float32Array
}

/** Runs a model over a short sequence block by block and keeps what each head attends to. */
export async function headWeights(
  model: CausalLanguageModel,
  tokens: Int32Array,
  runtime: Runtime,
): Promise<HeadWeights[]> {
  const size = tokens.length
  let { output: rows } = await model.embedding.forward({ data: tokens, shape: [1, size] }, { runtime })
  const found: HeadWeights[] = []
  for (const [layer, block] of model.encoder.blocks.entries()) {
    const { output: normed } = await block.norm1.forward(rows, { runtime })
    const { weights } = await block.selfAttention.forward(normed, { runtime, causal: true, returnWeights: true })
    const { heads } = block.selfAttention
    for (let head = 0; head < heads; head++)
      found.push({
        layer,
        head,
        size,
        values: lowerHalf(new Float32Array(weights?.data ?? []).subarray(head * size * size), size),
      })
    ;({ output: rows } = await block.forward(rows, { runtime, causal: true }))
  }
  return found
}

function lowerHalf(weights: Float32Array, size: number): Float32Array {
  return Float32Array.from({ length: size * size }, (_, at) =>
    at % size > Math.floor(at / size) ? NaN : (weights[at] ?? NaN),
  )
}
