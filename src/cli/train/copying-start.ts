import type { CausalLanguageModel } from '../../nn/index.ts'
import type { TrainSettings } from './train-settings.ts'

/**
 * How much larger embeddings are than the model draws them: with `scaleEmbeddings`, the blocks' outputs then do not
 * drown them.
 */
const EMBEDDING_FACTOR = 5

/** Whether a task is about looking back for what was there before. */
export function wantsCopying({ task, repeats }: Pick<TrainSettings, 'task' | 'repeats'>): boolean {
  return task === 'induction' || repeats > 0
}

/**
 * Lets the last block begin as one that copies: what its heads look at, it adds to the output, since the identity is
 * added to its value and output projections. Where its heads look, and everything in the blocks before it, is random as
 * ever and has to be learned. Without this, the induction task stayed on its plateau for 1,500 steps of 1,024 tokens;
 * with it, a head forms within 400. Attention learns where to look only once looking pays, and it pays only once what
 * was looked at is copied. Structured starts of this kind are in Trockman and Kolter 2023 (arXiv 2305.09828).
 */
export function startCopying(model: CausalLanguageModel): void {
  const { modelDim, embedding, encoder } = model
  scale(embedding.weight, EMBEDDING_FACTOR)
  const last = encoder.blocks.at(-1)?.selfAttention
  if (last === undefined) return
  // in_proj_weight has the rows of queries, keys and values, in this order.
  addIdentity(last.inProjWeight, last.inProjWeight.data.length / modelDim - modelDim, modelDim)
  addIdentity(last.outProj.weight, 0, modelDim)
}

type Weight = CausalLanguageModel['embedding']['weight']

function scale(weight: Weight, factor: number): void {
  for (let index = 0; index < weight.data.length; index++) weight.data[index] = (weight.data[index] ?? 0) * factor
  weight.touch()
}

function addIdentity(weight: Weight, rowStart: number, size: number): void {
  for (let row = 0; row < size; row++) {
    const place = (rowStart + row) * size + row
    weight.data[place] = (weight.data[place] ?? 0) + 1
  }
  weight.touch()
}
