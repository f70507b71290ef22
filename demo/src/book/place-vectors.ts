import { VECTOR_SIZE } from './messages.ts'

/** Neighbours to each side that count. */
const REACH = 6
const NEIGHBOUR_WEIGHT = 0.45
/** Words that are more frequent than this count for less: they stand beside everything. */
const COMMON = 3e-4
const SEED = 1851

/**
 * A unit vector for each place of a text: a seeded random direction for its word, and a share of those of the words
 * around it, the rarer the more (random indexing, Sahlgren 2005, for places in place of words). Nothing is trained. Two
 * places are alike where the same word stands in similar company.
 *
 * @param ids [n] @param into [n, VECTOR_SIZE]
 */
export function placeVectors(ids: Int32Array, vocabulary: number, into: Float32Array): void {
  const directions = randomDirections(vocabulary)
  const weights = neighbourWeights(ids, vocabulary)
  for (let place = 0; place < ids.length; place++) {
    const row = into.subarray(place * VECTOR_SIZE, (place + 1) * VECTOR_SIZE)
    addScaled(row, directions, ids[place] ?? 0, 1)
    for (let other = Math.max(0, place - REACH); other <= Math.min(ids.length - 1, place + REACH); other++) {
      const id = ids[other] ?? 0
      if (other !== place) addScaled(row, directions, id, NEIGHBOUR_WEIGHT * (weights[id] ?? 0))
    }
    normalise(row)
  }
}

function neighbourWeights(ids: Int32Array, vocabulary: number): Float64Array {
  const counts = new Float64Array(vocabulary)
  for (const id of ids) counts[id] = (counts[id] ?? 0) + 1
  return counts.map((count) => Math.min(1, Math.sqrt((COMMON * ids.length) / count)))
}

function randomDirections(count: number): Float32Array {
  const directions = new Float32Array(count * VECTOR_SIZE)
  const next = mulberry32(SEED)
  for (let at = 0; at < directions.length; at++) directions[at] = (next() + next() + next() + next()) / 2 ** 32 - 2
  for (let word = 0; word < count; word++) normalise(directions.subarray(word * VECTOR_SIZE, (word + 1) * VECTOR_SIZE))
  return directions
}

function addScaled(row: Float32Array, directions: Float32Array, id: number, scale: number): void {
  const start = id * VECTOR_SIZE
  for (let d = 0; d < VECTOR_SIZE; d++) row[d] = (row[d] ?? 0) + scale * (directions[start + d] ?? 0)
}

function normalise(row: Float32Array): void {
  let squares = 0
  for (const value of row) squares += value * value
  const length = Math.sqrt(squares)
  for (let d = 0; d < row.length; d++) row[d] = (row[d] ?? 0) / length
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
