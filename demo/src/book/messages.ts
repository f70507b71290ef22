/** What the page asks of the worker that reads a text. */
export interface ReadRequest {
  /** of the book, or the reader's own: pasted, or a file */
  readonly source: { readonly url: string } | { readonly text: string | Blob }
  /** words at most */
  readonly limit: number
  /** whether the vectors may be in memory that workers share */
  readonly shared: boolean
}

/** A text as a sequence of words with a vector each. */
export interface ReadText {
  /** as far as its words were taken */
  readonly text: string
  /** words in all; `ids` may hold fewer */
  readonly words: number
  readonly vocabulary: number
  /** [n]: the number of each word in the vocabulary */
  readonly ids: Int32Array
  /** [n]: where each word begins and ends in `text` */
  readonly starts: Uint32Array
  readonly ends: Uint32Array
  /** [n, VECTOR_SIZE] */
  readonly vectors: Float32Array
}

export type ReadAnswer = { readonly ok: ReadText } | { readonly failure: string }

export const VECTOR_SIZE = 64
