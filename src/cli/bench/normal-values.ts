/**
 * Seeded values of about a standard normal distribution (a sum of twelve uniform ones, less six): the same on every
 * machine.
 *
 * @returns [count]
 */
export function normalValues(count: number, seed: number): Float32Array {
  const values = new Float32Array(count)
  let state = (Math.imul(seed, 0x9e3779b1) ^ 0x6a09e667) >>> 0
  for (let i = 0; i < count; i++) {
    let sum = 0
    for (let draw = 0; draw < 12; draw++) {
      // Marsaglia's xorshift32, whose state is never 0
      state ^= state << 13
      state ^= state >>> 17
      state ^= state << 5
      state >>>= 0
      sum += state
    }
    values[i] = sum / 2 ** 32 - 6
  }
  return values
}
