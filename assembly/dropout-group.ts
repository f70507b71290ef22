import { P_BATCH_HEAD, P_COUNTER_KEY, P_COUNTER_ROW, P_SEED_HIGH, P_SEED_LOW, P_THRESHOLD, PARAMETERS } from './abi'
import { toAllow } from './lanes'
import { philox, WORDS } from './philox'

/**
 * Dropout by Philox, four rows in lanes: key = the seed, counter = (⌊j/4⌋, i, b·H + h, 0), word j mod 4. A weight is kept when
 * its word > threshold.
 */

/**
 * @param s weights of the block from key `low` on, [high − low][8]; dropped ones become 0
 * @param allow bytes of the block from key 0, or 0; a dropped weight loses its bit
 */
export function dropoutGroup(s: usize, low: i32, high: i32, group: i32, allow: usize): void {
  const threshold = v128.load32_splat(PARAMETERS, P_THRESHOLD)
  const row = load<i32>(PARAMETERS, P_COUNTER_ROW) + (group << 3)
  const firstQuad = load<i32>(PARAMETERS, P_COUNTER_KEY)
  const batchHead = v128.load32_splat(PARAMETERS, P_BATCH_HEAD)
  const seedLow = load<i32>(PARAMETERS, P_SEED_LOW), seedHigh = load<i32>(PARAMETERS, P_SEED_HIGH)
  for (let half: i32 = 0; half < 8; half += 4) {
    const rows = i32x4.add(i32x4.splat(row + half), i32x4(0, 1, 2, 3))
    for (let j = low; j < high;) {
      philox(i32x4.splat(firstQuad + (j >> 2)), rows, batchHead, i32x4.splat(0), seedLow, seedHigh)
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
