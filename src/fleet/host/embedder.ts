import type { Runtime } from '../../attention/runtime.ts'

/** A model on a host that turns a text into one vector. */
export interface Embedder {
  /**
   * One vector for a text.
   *
   * @param text the document
   * @returns `embedding`, the caller's, and how many tokens the text had.
   * @throws for a text that the model cannot take
   */
  embed(
    text: string,
    options: {
      /** Stops the work when the job is cancelled. */
      readonly signal: AbortSignal
    },
  ): Promise<{
    /** [E], the caller's */
    readonly embedding: Float32Array
    /** how many tokens the text had, special ones included */
    readonly tokens: number
  }>
}

/**
 * Makes the embedder of a model's folder. It is the host's own code, given where the host is started: jobs name folders
 * and bring no code.
 *
 * @param folder absolute path
 * @param runtime the host's, for forward calls
 */
export type EmbedderLoader = (folder: string, runtime: Runtime) => Promise<Embedder>
