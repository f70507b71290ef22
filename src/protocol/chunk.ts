/** Rows that a task works on: [rowStart, rowStart + rows) of one batch, or on into the batches that follow it. */
export interface Chunk {
  readonly batch: number
  readonly rowStart: number
  readonly rows: number
}

/** What a pass says of a chunk where no lane works on it. */
export const CHUNK_FREE = 0
export const CHUNK_DONE = -1
