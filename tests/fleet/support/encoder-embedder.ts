import { readFile } from 'node:fs/promises'
import path from 'node:path'
import type { EmbedderLoader } from 'heddle/fleet'
import { Embedding, readStateDict, TransformerEncoder, writeSafetensors } from 'heddle/nn'
import type { FleetSite } from './fleet-site.ts'

const SIZES = { modelDim: 32, heads: 2, layers: 2 }

/** Bytes as tokens, a small encoder, the mean of its rows. A real model, though an untrained one. */
export class ByteEncoder {
  readonly embedding = new Embedding(256, SIZES.modelDim, { seed: 11 })
  readonly encoder = new TransformerEncoder({ ...SIZES, seed: 12 })

  /** Writes the folder of a model. */
  async save(site: FleetSite, folder: string): Promise<void> {
    await site.store.write(`${folder}/embedding.safetensors`, writeSafetensors(this.embedding.stateDict()))
    await site.store.write(`${folder}/encoder.safetensors`, writeSafetensors(this.encoder.stateDict()))
  }
}

/** The host's side: loads the folder. A text with `☠` is poison, as a defect of a tokenizer would be. */
export const loadByteEncoder: EmbedderLoader = async (folder, runtime) => {
  const model = new ByteEncoder()
  model.embedding.loadStateDict(await readStateDict(await readFile(path.join(folder, 'embedding.safetensors'))))
  model.encoder.loadStateDict(await readStateDict(await readFile(path.join(folder, 'encoder.safetensors'))))
  return {
    embed: async (text, { signal }) => {
      if (text.includes('☠')) throw new RangeError('no token for ☠')
      const tokens = Int32Array.from(new TextEncoder().encode(text))
      const rows = await model.embedding.forward({ data: tokens, shape: [1, tokens.length] }, { runtime, signal })
      const { output } = await model.encoder.forward(rows.output, { runtime, signal })
      return { embedding: meanOfRows(output.data, SIZES.modelDim), tokens: tokens.length }
    },
  }
}

function meanOfRows(data: Float32Array, width: number): Float32Array {
  const rows = data.length / width
  return Float32Array.from({ length: width }, (_, column) => {
    let sum = 0
    for (let row = 0; row < rows; row++) sum += data[row * width + column] ?? 0
    return sum / rows
  })
}
