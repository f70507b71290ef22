import { loadModel, type ModelSource } from 'heddle/models'

/** Elements of all parameters, to tell models apart. */
export const checksum = async (source: ModelSource): Promise<number> =>
  (await loadModel(source)).transformer.parameters().reduce((sum, { data }) => sum + data.reduce((a, b) => a + b, 0), 0)
