/**
 * Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011) of four counters in
 * lanes: a generator without state, whose words depend on counter and key only.
 */

/** What `philox` writes: word 0 of the four counters, then words 1, 2 and 3. */
export const WORDS: usize = memory.data(64, 16)

/** The words of the counters (c0, c1, c2, c3) under the key (k0, k1) to WORDS [4 words][4 counters]. */
// @ts-ignore: decorator
@inline
export function philox(c0: v128, c1: v128, c2: v128, c3: v128, k0: i32, k1: i32): void {
  for (let round = 0; round < 10; round++) {
    const m0 = i32x4.splat(0xd2511f53), m1 = i32x4.splat(0xcd9e8d57)
    const high0 = upper(m0, c0), high1 = upper(m1, c2)
    const low0 = i32x4.mul(m0, c0), low1 = i32x4.mul(m1, c2)
    c0 = v128.xor(v128.xor(high1, c1), i32x4.splat(k0))
    c1 = low1
    c2 = v128.xor(v128.xor(high0, c3), i32x4.splat(k1))
    c3 = low0
    k0 += 0x9e3779b9
    k1 += 0xbb67ae85
  }
  v128.store(WORDS, c0)
  v128.store(WORDS, c1, 16)
  v128.store(WORDS, c2, 32)
  v128.store(WORDS, c3, 48)
}

/** The upper words of the four 64-bit products of unsigned words. */
// @ts-ignore: decorator
@inline
function upper(a: v128, b: v128): v128 {
  return v128.shuffle<i32>(i64x2.extmul_low_i32x4_u(a, b), i64x2.extmul_high_i32x4_u(a, b), 1, 3, 5, 7)
}
