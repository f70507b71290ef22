import { STATE_DISTANCE, STATE_INDEX, STATE_MAX, STATE_MOMENT, STATE_SUM } from './abi'
import { EXP2, exp2Lanes, exp2Vector } from './exp2'
import { highLanes, lowLanes, madd } from './lanes'

/**
 * One step of the online softmax (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018) for a group:
 * with m' = max(m, largest): p = 2^(s − m') in place of s, sum' = sum·2^(m − m') + Σ p.
 *
 * @param s scores [keys][8], becomes p
 * @param largest f32 [8]: this block's maxima
 * @param rescale f32 [8], written: 2^(m − m')
 * @param infinities whether scores of −∞ (masked keys) must become exactly 0
 */
export function softmaxGroup(s: usize, keys: i32, state: usize, largest: usize, rescale: usize, infinities: bool): void {
  const top0 = f32x4.pmax(v128.load(state, STATE_MAX), v128.load(largest))
  const top1 = f32x4.pmax(v128.load(state, STATE_MAX + 16), v128.load(largest, 16))
  const shrink0 = exp2Vector(f32x4.sub(v128.load(state, STATE_MAX), top0))
  const shrink1 = exp2Vector(f32x4.sub(v128.load(state, STATE_MAX + 16), top1))
  v128.store(rescale, shrink0)
  v128.store(rescale, shrink1, 16)
  v128.store(state, top0, STATE_MAX)
  v128.store(state, top1, STATE_MAX + 16)
  const sums = rescale + 32
  if (infinities) powers(s, keys, top0, top1, sums, true)
  else powers(s, keys, top0, top1, sums, false)
  v128.store(state, f32x4.add(f32x4.mul(v128.load(state, STATE_SUM), shrink0), v128.load(sums)), STATE_SUM)
  v128.store(state, f32x4.add(f32x4.mul(v128.load(state, STATE_SUM + 16), shrink1), v128.load(sums, 16)), STATE_SUM + 16)
}

/** p = 2^(s − top) in place, and Σ p to `sums` [8]. */
// @ts-ignore: decorator
@inline
function powers(s: usize, keys: i32, top0: v128, top1: v128, sums: usize, infinities: bool): void {
  const floor = v128.load32_splat(EXP2), magic = v128.load32_splat(EXP2, 4)
  const c0 = v128.load32_splat(EXP2, 8), c1 = v128.load32_splat(EXP2, 12), c2 = v128.load32_splat(EXP2, 16)
  const c3 = v128.load32_splat(EXP2, 20), c4 = v128.load32_splat(EXP2, 24), c5 = v128.load32_splat(EXP2, 28)
  let sum0 = i32x4.splat(0), sum1 = sum0
  for (const end = s + (<usize>keys << 5); s < end; s += 32) {
    const x0 = v128.load(s), x1 = v128.load(s, 16)
    let p0 = exp2Lanes(f32x4.pmax(f32x4.sub(x0, top0), floor), magic, c0, c1, c2, c3, c4, c5)
    let p1 = exp2Lanes(f32x4.pmax(f32x4.sub(x1, top1), floor), magic, c0, c1, c2, c3, c4, c5)
    if (infinities) {
      p0 = v128.andnot(p0, f32x4.eq(x0, f32x4.splat(-Infinity)))
      p1 = v128.andnot(p1, f32x4.eq(x1, f32x4.splat(-Infinity)))
    }
    v128.store(s, p0)
    v128.store(s, p1, 16)
    sum0 = f32x4.add(sum0, p0)
    sum1 = f32x4.add(sum1, p1)
  }
  v128.store(sums, sum0)
  v128.store(sums, sum1, 16)
}

/**
 * `softmaxGroup`, and the row statistics: moment = Σ p·(s − m), distance = Σ p·|position − j|, and the first key of the
 * largest score. When the maximum moves by δ, moment' = 2^δ·(moment + sum·δ). Same bits in p and sum as `softmaxGroup`.
 *
 * @param firstKey of `s`, counted from the block's start, and `blockStart` from the task's key 0
 * @param position i + queryOffset of the group's first row, less the block's start
 */
export function softmaxStatisticsGroup(
  s: usize, keys: i32, state: usize, largest: usize, rescale: usize, firstKey: i32, blockStart: i32, position: i32,
): void {
  for (let half: usize = 0; half < 32; half += 16) {
    const old = v128.load(state + half, STATE_MAX)
    const sum = v128.load(state + half, STATE_SUM)
    const top = f32x4.pmax(old, v128.load(largest + half))
    const move = f32x4.pmax(f32x4.sub(old, top), v128.load32_splat(EXP2))
    const shrink = exp2Vector(move)
    let index = v128.load(state + half, STATE_INDEX)
    let best = old
    let moment = i32x4.splat(0), distance = moment, total = moment
    const away = i32x4.add(i32x4.splat(position + <i32>(half >> 2)), i32x4(0, 1, 2, 3))
    for (let j = 0; j < keys; j++) {
      const at = s + half + (<usize>j << 5)
      const x = v128.load(at)
      const drop = f32x4.pmax(f32x4.sub(x, top), v128.load32_splat(EXP2))
      const p = v128.andnot(exp2Vector(drop), f32x4.eq(x, f32x4.splat(-Infinity)))
      v128.store(at, p)
      total = f32x4.add(total, p)
      moment = madd(p, drop, moment)
      const steps = i32x4.abs(i32x4.sub(away, i32x4.splat(firstKey + j)))
      distance = madd(p, f32x4.convert_i32x4_s(steps), distance)
      const better = f32x4.gt(x, best)
      index = v128.bitselect(i32x4.splat(blockStart + firstKey + j), index, better)
      best = f32x4.pmax(best, x)
    }
    const carried = f32x4.mul(shrink, f32x4.add(v128.load(state + half, STATE_MOMENT), f32x4.mul(sum, move)))
    v128.store(state + half, f32x4.add(carried, moment), STATE_MOMENT)
    v128.store(state + half, f32x4.add(f32x4.mul(v128.load(state + half, STATE_DISTANCE), shrink), distance), STATE_DISTANCE)
    v128.store(state + half, f32x4.add(f32x4.mul(sum, shrink), total), STATE_SUM)
    v128.store(state + half, top, STATE_MAX)
    v128.store(state + half, index, STATE_INDEX)
    v128.store(rescale + half, shrink)
  }
}

/**
 * weights = 2^(s − m)/sum in place of s, with the row's final maximum and sum; 0 where s is −∞ or the row saw no key.
 * A row whose allowed scores were all −∞ has sum 0: 0·∞ makes it NaN, as IEEE does.
 */
export function normaliseGroup(s: usize, keys: i32, state: usize, seen: u32): void {
  for (let half: usize = 0; half < 32; half += 16) {
    const top = v128.load(state + half, STATE_MAX)
    const rows = half ? highLanes(seen) : lowLanes(seen)
    const inverse = v128.and(f32x4.div(f32x4.splat(1), v128.load(state + half, STATE_SUM)), rows)
    for (let at = s + half, end = at + (<usize>keys << 5); at < end; at += 32) {
      const x = v128.load(at)
      const p = v128.andnot(exp2Vector(f32x4.sub(x, top)), f32x4.eq(x, f32x4.splat(-Infinity)))
      v128.store(at, f32x4.mul(p, inverse))
    }
  }
}
