import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { planModel, TransformerModel } from 'heddle/models'
import { writeSafetensors } from 'heddle/nn'
import { onnxModel } from '../onnx/onnx-model.ts'
import { encoderGraph } from './encoder-graph.ts'

/** Of an encoder like BERT. */
export interface EncoderSizes {
  readonly layers: number
  readonly modelDim: number
  readonly heads: number
  readonly feedForwardDim: number
  readonly vocabulary: number
  readonly maxLength: number
}

export const HUB_FOLDER = 'hub'
export const ONNX_FILE = 'encoder.onnx'

/** What ONNX's LayerNormalization takes where its node does not say. */
const EPSILON = 1e-5

/** Writes the same encoder with random weights as a folder of the hub and as an ONNX graph. */
export async function writeEncoder(folder: string, sizes: EncoderSizes): Promise<void> {
  const config = {
    model_type: 'bert',
    hidden_act: 'gelu',
    hidden_size: sizes.modelDim,
    num_attention_heads: sizes.heads,
    num_hidden_layers: sizes.layers,
    intermediate_size: sizes.feedForwardDim,
    max_position_embeddings: sizes.maxLength,
    type_vocab_size: 2,
    layer_norm_eps: EPSILON,
    vocab_size: sizes.vocabulary,
  }
  const json = JSON.stringify(config)
  const { architecture } = await planModel(() => new TextEncoder().encode(json))
  const state = new TransformerModel(architecture, { seed: 1 }).stateDict()
  await mkdir(path.join(folder, HUB_FOLDER), { recursive: true })
  await writeFile(path.join(folder, HUB_FOLDER, 'config.json'), json)
  await writeFile(path.join(folder, HUB_FOLDER, 'model.safetensors'), writeSafetensors(state))
  const row = [1, 'tokens']
  await writeFile(
    path.join(folder, ONNX_FILE),
    onnxModel({
      ...encoderGraph(state, sizes),
      inputs: [
        { name: 'ids', shape: row, type: 'int64' },
        { name: 'positions', shape: row, type: 'int64' },
      ],
      output: { name: 'hidden', shape: [...row, sizes.modelDim] },
    }),
  )
}
