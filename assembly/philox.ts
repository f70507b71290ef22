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
  const m0 = i32x4.splat(0xd2511f53), m1 = i32x4.splat(0xcd9e8d57)
  const step0 = i32x4.splat(0x9e3779b9), step1 = i32x4.splat(0xbb67ae85)
  let key0 = i32x4.splat(k0), key1 = i32x4.splat(k1)
  // Both halves of the 64-bit products come from the same multiplications; two rounds share a turn.
  for (let round = 0; round < 5; round++) {
    const p0 = i64x2.extmul_low_i32x4_u(m0, c0), p1 = i64x2.extmul_high_i32x4_u(m0, c0)
    const q0 = i64x2.extmul_low_i32x4_u(m1, c2), q1 = i64x2.extmul_high_i32x4_u(m1, c2)
    const next0 = v128.xor(upper(q0, q1), v128.xor(c1, key0))
    const next2 = v128.xor(upper(p0, p1), v128.xor(c3, key1))
    key0 = i32x4.add(key0, step0)
    key1 = i32x4.add(key1, step1)
    const r0 = i64x2.extmul_low_i32x4_u(m0, next0), r1 = i64x2.extmul_high_i32x4_u(m0, next0)
    const s0 = i64x2.extmul_low_i32x4_u(m1, next2), s1 = i64x2.extmul_high_i32x4_u(m1, next2)
    c0 = v128.xor(upper(s0, s1), v128.xor(lower(q0, q1), key0))
    c1 = lower(s0, s1)
    c2 = v128.xor(upper(r0, r1), v128.xor(lower(p0, p1), key1))
    c3 = lower(r0, r1)
    key0 = i32x4.add(key0, step0)
    key1 = i32x4.add(key1, step1)
  }
  v128.store(WORDS, c0)
  v128.store(WORDS, c1, 16)
  v128.store(WORDS, c2, 32)
  v128.store(WORDS, c3, 48)
}

/** The upper words of four 64-bit products. */
// @ts-ignore: decorator
@inline
function upper(low: v128, high: v128): v128 {
  return v128.shuffle<i32>(low, high, 1, 3, 5, 7)
}

// @ts-ignore: decorator
@inline
function lower(low: v128, high: v128): v128 {
  return v128.shuffle<i32>(low, high, 0, 2, 4, 6)
}
