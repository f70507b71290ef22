import { highLanes, lowLanes, madd } from './lanes'

/** What a group does between its products in the backward pass; everything in lanes, [keys][8]. */

/**
 * dS = P·(dP − δ) in place of dP.
 *
 * @param d dP, becomes dS
 * @param delta f32 [8]: δ = Σ dO·O of each row
 * @param allow a byte per key: 0 where the bit is not set, whatever dP or δ hold; or 0
 */
export function scoreGradientGroup(p: usize, d: usize, keys: i32, delta: usize, allow: usize): void {
  const delta0 = v128.load(delta), delta1 = v128.load(delta, 16)
  const end = d + (<usize>keys << 5)
  if (!allow) {
    for (; d < end; d += 32, p += 32) {
      v128.store(d, f32x4.mul(v128.load(p), f32x4.sub(v128.load(d), delta0)))
      v128.store(d, f32x4.mul(v128.load(p, 16), f32x4.sub(v128.load(d, 16), delta1)), 16)
    }
    return
  }
  for (; d < end; d += 32, p += 32, allow++) {
    const bits = <u32>load<u8>(allow)
    v128.store(d, v128.and(f32x4.mul(v128.load(p), f32x4.sub(v128.load(d), delta0)), lowLanes(bits)))
    v128.store(d, v128.and(f32x4.mul(v128.load(p, 16), f32x4.sub(v128.load(d, 16), delta1)), highLanes(bits)), 16)
  }
}

/** 0 for weights that dropout took. @param kept a byte per key */
export function keepGroup(p: usize, keys: i32, kept: usize): void {
  for (const end = p + (<usize>keys << 5); p < end; p += 32, kept++) {
    const bits = <u32>load<u8>(kept)
    v128.store(p, v128.and(v128.load(p), lowLanes(bits)))
    v128.store(p, v128.and(v128.load(p, 16), highLanes(bits)), 16)
  }
}

/** d = d·slopes, elementwise: back through the softcap. A score where d is 0 keeps it, whatever its slope. */
export function multiplyGroup(d: usize, slopes: usize, keys: i32): void {
  for (const end = d + (<usize>keys << 5); d < end; d += 16, slopes += 16) {
    const x = v128.load(d)
    v128.store(d, v128.andnot(f32x4.mul(x, v128.load(slopes)), f32x4.eq(x, i32x4.splat(0))))
  }
}

/** −0 becomes 0: which of the two a masked pair has depends on whether its group met anything extreme. */
export function positiveZeros(d: usize, keys: i32): void {
  const zero = i32x4.splat(0)
  for (const end = d + (<usize>keys << 5); d < end; d += 16) v128.store(d, f32x4.add(v128.load(d), zero))
}

/** sums[j] += Σ_r d[j][r], as ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)). @param sums f32 [keys] */
export function sumGroupColumns(d: usize, keys: i32, sums: usize): void {
  for (const end = d + (<usize>keys << 5); d < end; d += 32, sums += 4) {
    const four = f32x4.add(v128.load(d), v128.load(d, 16))
    const two = f32x4.add(four, v128.shuffle<f32>(four, four, 2, 3, 0, 1))
    store<f32>(sums, load<f32>(sums) + (f32x4.extract_lane(two, 0) + f32x4.extract_lane(two, 1)))
  }
}

/** sums[r] = Σ_j d[j][r]. @param sums f32 [8], written */
export function sumGroupRows(d: usize, keys: i32, sums: usize): void {
  let sum0 = i32x4.splat(0), sum1 = sum0
  for (const end = d + (<usize>keys << 5); d < end; d += 32) {
    sum0 = f32x4.add(sum0, v128.load(d))
    sum1 = f32x4.add(sum1, v128.load(d, 16))
  }
  v128.store(sums, sum0)
  v128.store(sums, sum1, 16)
}

/**
 * sums[r] = Σ_j d[j][r]·|position + r − j|.
 *
 * @param position i + queryOffset of the group's first row, less the index of the first of the keys
 * @param sums f32 [8], written
 */
export function sumGroupDistances(d: usize, keys: i32, position: i32, sums: usize): void {
  let sum0 = i32x4.splat(0), sum1 = sum0
  for (let j = 0; j < keys; j++, d += 32) {
    const away = i32x4.splat(position - j)
    const steps0 = i32x4.abs(i32x4.add(away, i32x4(0, 1, 2, 3))), steps1 = i32x4.abs(i32x4.add(away, i32x4(4, 5, 6, 7)))
    sum0 = madd(v128.load(d), f32x4.convert_i32x4_s(steps0), sum0)
    sum1 = madd(v128.load(d, 16), f32x4.convert_i32x4_s(steps1), sum1)
  }
  v128.store(sums, sum0)
  v128.store(sums, sum1, 16)
}
