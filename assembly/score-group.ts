import { madd } from './lanes'

/**
 * S[j][r] = Σ_c Q[c][r]·K[j][c] for one group of 8 queries, and the largest score of each row.
 *
 * Each score is one chain over c in ascending order, whatever tile computes it: its bits depend on its own row and key only.
 * Four turns of the inner loop stand beside each other with an exit between them: engines keep the loads of one turn
 * together (no more than 15 registers are live), but check the stack and jump back only every fourth time.
 *
 * @param q packed queries [D][8]
 * @param k packed keys [⌈keys / 4⌉][D][4]; what fills the last four up is read, but counts for nothing
 * @param s scores [keys, rounded up to 4][8], written
 * @param largest f32 [8], written: the maximum over the keys, LOWEST where every score is NaN or −∞
 */
export function scoreGroup(q: usize, k: usize, s: usize, keys: i32, headSize: i32, largest: usize): void {
  const last = q + (<usize>headSize << 5)
  let top0 = f32x4.splat(-3.4028234663852886e38)
  let top1 = top0
  for (; keys > 0; keys -= 4, s += 128) {
    let a0 = i32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0
    let at = q
    do {
      const q0a = v128.load(at), q1a = v128.load(at, 16)
      let key0 = v128.load32_splat(k)
      a0 = madd(q0a, key0, a0)
      a1 = madd(q1a, key0, a1)
      key0 = v128.load32_splat(k, 4)
      b0 = madd(q0a, key0, b0)
      b1 = madd(q1a, key0, b1)
      key0 = v128.load32_splat(k, 8)
      c0 = madd(q0a, key0, c0)
      c1 = madd(q1a, key0, c1)
      key0 = v128.load32_splat(k, 12)
      d0 = madd(q0a, key0, d0)
      d1 = madd(q1a, key0, d1)
      k += 16
      at += 32
      if (at >= last) break
      const q0b = v128.load(at), q1b = v128.load(at, 16)
      let key1 = v128.load32_splat(k)
      a0 = madd(q0b, key1, a0)
      a1 = madd(q1b, key1, a1)
      key1 = v128.load32_splat(k, 4)
      b0 = madd(q0b, key1, b0)
      b1 = madd(q1b, key1, b1)
      key1 = v128.load32_splat(k, 8)
      c0 = madd(q0b, key1, c0)
      c1 = madd(q1b, key1, c1)
      key1 = v128.load32_splat(k, 12)
      d0 = madd(q0b, key1, d0)
      d1 = madd(q1b, key1, d1)
      k += 16
      at += 32
      if (at >= last) break
      const q0c = v128.load(at), q1c = v128.load(at, 16)
      let key2 = v128.load32_splat(k)
      a0 = madd(q0c, key2, a0)
      a1 = madd(q1c, key2, a1)
      key2 = v128.load32_splat(k, 4)
      b0 = madd(q0c, key2, b0)
      b1 = madd(q1c, key2, b1)
      key2 = v128.load32_splat(k, 8)
      c0 = madd(q0c, key2, c0)
      c1 = madd(q1c, key2, c1)
      key2 = v128.load32_splat(k, 12)
      d0 = madd(q0c, key2, d0)
      d1 = madd(q1c, key2, d1)
      k += 16
      at += 32
      if (at >= last) break
      const q0d = v128.load(at), q1d = v128.load(at, 16)
      let key3 = v128.load32_splat(k)
      a0 = madd(q0d, key3, a0)
      a1 = madd(q1d, key3, a1)
      key3 = v128.load32_splat(k, 4)
      b0 = madd(q0d, key3, b0)
      b1 = madd(q1d, key3, b1)
      key3 = v128.load32_splat(k, 8)
      c0 = madd(q0d, key3, c0)
      c1 = madd(q1d, key3, c1)
      key3 = v128.load32_splat(k, 12)
      d0 = madd(q0d, key3, d0)
      d1 = madd(q1d, key3, d1)
      k += 16
      at += 32
    } while (at < last)
    v128.store(s, a0)
    v128.store(s, a1, 16)
    v128.store(s, b0, 32)
    v128.store(s, b1, 48)
    v128.store(s, c0, 64)
    v128.store(s, c1, 80)
    v128.store(s, d0, 96)
    v128.store(s, d1, 112)
    if (keys >= 4) {
      top0 = f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(top0, a0), b0), c0), d0)
      top1 = f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(top1, a1), b1), c1), d1)
    } else {
      top0 = largestOf(s, keys, top0)
      top1 = largestOf(s + 16, keys, top1)
    }
  }
  v128.store(largest, top0)
  v128.store(largest, top1, 16)
}

/** The maximum over fewer than four keys. */
// @ts-ignore: decorator
@inline
function largestOf(s: usize, keys: i32, top: v128): v128 {
  for (; keys > 0; keys--, s += 32) top = f32x4.pmax(top, v128.load(s))
  return top
}
