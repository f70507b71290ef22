/**
 * Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011): a generator
 * without state. The words of a counter under a key are the same wherever, and in whatever order, they are asked for.
 */

const MULTIPLIER_0 = 0xd2511f53
const MULTIPLIER_1 = 0xcd9e8d57
const WEYL_0 = 0x9e3779b9
const WEYL_1 = 0xbb67ae85

/** A 64-bit seed as two unsigned words. */
export interface SeedWords {
  readonly seedLow: number
  readonly seedHigh: number
}

/**
 * Writes the four words of the counter (c0, c1, c2, c3) under the key `seed` to `words`.
 *
 * @param words [4], overwritten
 */
// eslint-disable-next-line max-params -- four words of one counter; generators call this once per few numbers
export function philoxWords(words: Uint32Array, seed: SeedWords, c0: number, c1: number, c2: number, c3: number): void {
  let k0 = seed.seedLow
  let k1 = seed.seedHigh
  for (let round = 0; round < 10; round++) {
    const high0 = highWord(MULTIPLIER_0, c0)
    const high1 = highWord(MULTIPLIER_1, c2)
    const low0 = Math.imul(MULTIPLIER_0, c0)
    const low1 = Math.imul(MULTIPLIER_1, c2)
    c0 = high1 ^ c1 ^ k0
    c1 = low1
    c2 = high0 ^ c3 ^ k1
    c3 = low0
    k0 = (k0 + WEYL_0) | 0
    k1 = (k1 + WEYL_1) | 0
  }
  words[0] = c0
  words[1] = c1
  words[2] = c2
  words[3] = c3
}

/** The upper 32 bits of the 64-bit product of two unsigned words, out of 16-bit halves. */
function highWord(a: number, b: number): number {
  const aLow = a & 0xffff
  const aHigh = a >>> 16
  const bLow = b & 0xffff
  const bHigh = b >>> 16
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16)
  const carry = aLow * bHigh + (middle & 0xffff)
  return (aHigh * bHigh + Math.floor(middle / 65536) + Math.floor(carry / 65536)) | 0
}
