import type { EmbedderLoader } from './embedder.ts'

/**
 * Reads a folder of the hub with `heddle/models`, which is fetched when a host first needs it. Pooling and
 * normalisation are those of the folder's files.
 *
 * @throws as `loadModel` does
 */
export const loadHubModel: EmbedderLoader = async (folder, runtime) => {
  const { loadModel } = await import('../../models/load-model.ts')
  const model = await loadModel(folder)
  return {
    embed: async (text, { signal }) => {
      const { embedding, tokens } = await model.embed(text, { runtime, signal })
      return { embedding: embedding.data, tokens }
    },
  }
}
