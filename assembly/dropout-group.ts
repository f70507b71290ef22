import { P_BATCH_HEAD, P_COUNTER_KEY, P_COUNTER_ROW, P_SEED_HIGH, P_SEED_LOW, P_THRESHOLD, PARAMETERS } from './abi'
import { toAllow } from './lanes'

/**
 * Dropout by Philox 4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011), four rows
 * in lanes: key = the seed, counter = (⌊j/4⌋, i, b·H + h, 0), word j mod 4. A weight is kept when its word > threshold.
 */

/** Four words of four rows. */
const WORDS: usize = memory.data(64, 16)

/**
 * @param s weights of the block from key `low` on, [high − low][8]; dropped ones become 0
 * @param allow bytes of the block from key 0, or 0; a dropped weight loses its bit
 */
export function dropoutGroup(s: usize, low: i32, high: i32, group: i32, allow: usize): void {
  const threshold = v128.load32_splat(PARAMETERS, P_THRESHOLD)
  const row = load<i32>(PARAMETERS, P_COUNTER_ROW) + (group << 3)
  const firstQuad = load<i32>(PARAMETERS, P_COUNTER_KEY)
  for (let half: i32 = 0; half < 8; half += 4) {
    const rows = i32x4.add(i32x4.splat(row + half), i32x4(0, 1, 2, 3))
    for (let j = low; j < high;) {
      philox(i32x4.splat(firstQuad + (j >> 2)), rows)
      const end = min((j & ~3) + 4, high)
      for (; j < end; j++) {
        const keep = i32x4.gt_u(v128.load(WORDS + (<usize>(j & 3) << 4)), threshold)
        const at = s + (<usize>(j - low) << 5) + (<usize>half << 2)
        v128.store(at, v128.and(v128.load(at), keep))
        if (allow) {
          const others: v128 = i32x4.splat(-1)
          const bits = half ? toAllow(others, keep) : toAllow(keep, others)
          store<u8>(allow + <usize>j, load<u8>(allow + <usize>j) & <u8>bits)
        }
      }
    }
  }
}

/** The four words of counter (quad, row, b·H + h, 0) to WORDS [4][4 rows]. */
function philox(quad: v128, rows: v128): void {
  let c0 = quad, c1 = rows, c2 = v128.load32_splat(PARAMETERS, P_BATCH_HEAD), c3 = i32x4.splat(0)
  let k0 = load<i32>(PARAMETERS, P_SEED_LOW), k1 = load<i32>(PARAMETERS, P_SEED_HIGH)
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
