import { madd } from './lanes'

/**
 * S[j][r] = Σ_c Q[c][r]·K[j][c] for one group of 8 queries, and the largest score of each row.
 *
 * Each score is one chain over c in ascending order, whatever tile computes it: its bits depend on its own row and key only.
 *
 * @param q packed queries [D][8], scaled
 * @param k keys [keys][D], row-major
 * @param s scores [keys][8], written
 * @param largest f32 [8], written: the maximum over the keys, LOWEST where every score is NaN or −∞
 */
export function scoreGroup(q: usize, k: usize, s: usize, keys: i32, headSize: i32, largest: usize): void {
  const stride = <usize>headSize << 2
  const last = q + (<usize>headSize << 5)
  let top0 = f32x4.splat(-3.4028234663852886e38)
  let top1 = top0
  const pairsEnd = s + (<usize>(keys & ~3) << 5)
  const end = s + (<usize>keys << 5)
  for (; s < pairsEnd; s += 128) {
    let a0 = i32x4.splat(0), a1 = a0, b0 = a0, b1 = a0, c0 = a0, c1 = a0, d0 = a0, d1 = a0
    let ka = k, kb = ka + stride, kc = kb + stride, kd = kc + stride
    for (let at = q; at < last; at += 32) {
      const q0 = v128.load(at), q1 = v128.load(at, 16)
      let key = v128.load32_splat(ka)
      a0 = madd(q0, key, a0)
      a1 = madd(q1, key, a1)
      key = v128.load32_splat(kb)
      b0 = madd(q0, key, b0)
      b1 = madd(q1, key, b1)
      key = v128.load32_splat(kc)
      c0 = madd(q0, key, c0)
      c1 = madd(q1, key, c1)
      key = v128.load32_splat(kd)
      d0 = madd(q0, key, d0)
      d1 = madd(q1, key, d1)
      ka += 4
      kb += 4
      kc += 4
      kd += 4
    }
    v128.store(s, a0)
    v128.store(s, a1, 16)
    v128.store(s, b0, 32)
    v128.store(s, b1, 48)
    v128.store(s, c0, 64)
    v128.store(s, c1, 80)
    v128.store(s, d0, 96)
    v128.store(s, d1, 112)
    top0 = f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(top0, a0), b0), c0), d0)
    top1 = f32x4.pmax(f32x4.pmax(f32x4.pmax(f32x4.pmax(top1, a1), b1), c1), d1)
    k = kd + 0
  }
  for (; s < end; s += 32) {
    let a0 = i32x4.splat(0), a1 = a0
    for (let at = q; at < last; at += 32) {
      const key = v128.load32_splat(k)
      a0 = madd(v128.load(at), key, a0)
      a1 = madd(v128.load(at, 16), key, a1)
      k += 4
    }
    v128.store(s, a0)
    v128.store(s, a1, 16)
    top0 = f32x4.pmax(top0, a0)
    top1 = f32x4.pmax(top1, a1)
  }
  v128.store(largest, top0)
  v128.store(largest, top1, 16)
}
