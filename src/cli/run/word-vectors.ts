/** Size of a word's vector: one head of the usual size. */
export const VECTOR_SIZE = 64

/**
 * One seeded random direction for each word: unit vectors, so that a word's product with itself is 1 and with any other
 * word's about 0 ± 1/√D.
 *
 * @returns [count, D], row-major
 */
export function wordVectors(count: number, seed: number): Float32Array {
  const vectors = new Float32Array(count * VECTOR_SIZE)
  const normal = normalNumbers(seed)
  for (let word = 0; word < count; word++) {
    const row = vectors.subarray(word * VECTOR_SIZE, (word + 1) * VECTOR_SIZE)
    let squares = 0
    for (let i = 0; i < VECTOR_SIZE; i++) {
      const value = normal()
      row[i] = value
      squares += value * value
    }
    const length = Math.sqrt(squares)
    for (let i = 0; i < VECTOR_SIZE; i++) row[i] = (row[i] ?? 0) / length
  }
  return vectors
}

/** Writes each token's vector into `into` [n, D]. */
export function embed(ids: Int32Array, vectors: Float32Array, into: Float32Array): void {
  for (const [token, id] of ids.entries())
    into.set(vectors.subarray(id * VECTOR_SIZE, (id + 1) * VECTOR_SIZE), token * VECTOR_SIZE)
}

/**
 * Numbers that are near enough to normal for directions: the sum of four uniform ones, centred (Irwin–Hall). Sums of
 * integers only, so that every machine draws the same.
 */
function normalNumbers(seed: number): () => number {
  const uniform = mulberry32(seed)
  return () => (uniform() + uniform() + uniform() + uniform()) / 2 ** 32 - 2
}

/** Tommy Ettinger's mulberry32: 32-bit unsigned integers from a 32-bit state. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return (mixed ^ (mixed >>> 14)) >>> 0
  }
}
