import { P_FACTOR, P_FLOOR, PARAMETERS, STATE_DISTANCE, STATE_INDEX, STATE_MAX, STATE_MOMENT, STATE_SUM } from './abi'
import { EXP2, exp2Polynomial, exp2Rest, exp2Shifted, exp2Vector } from './exp2'
import { highLanes, lowLanes, madd } from './lanes'

/**
 * One step of the online softmax (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018) for a group:
 * with m' = max(m, largest): p = 2^(factor·(s − m')) in place of s, sum' = sum·2^(factor·(m − m')) + Σ p.
 *
 * @param s scores [keys][8], becomes p
 * @param largest f32 [8]: this block's maxima
 * @param rescale f32 [8], written: 2^(factor·(m − m'))
 * @param spare scratch, f32 [keys][4]
 * @param infinities whether scores of −∞ (masked keys) must become exactly 0
 * @param bytes of the lanes that count: 32, or 16 where only the first four queries do
 */
export function softmaxGroup(s: usize, keys: i32, state: usize, largest: usize, rescale: usize, spare: usize, infinities: bool, bytes: usize): void {
  const factor = v128.load32_splat(PARAMETERS, P_FACTOR), floor = v128.load32_splat(PARAMETERS, P_FLOOR)
  for (let half: usize = 0; half < bytes; half += 16) {
    const old = v128.load(state + half, STATE_MAX)
    const top = f32x4.pmax(old, v128.load(largest + half))
    const shrink = exp2Vector(f32x4.sub(old, top), factor, floor)
    v128.store(rescale + half, shrink)
    v128.store(state + half, top, STATE_MAX)
    const sum = infinities ? powers(s + half, keys, top, factor, floor, spare, true) : powers(s + half, keys, top, factor, floor, spare, false)
    v128.store(state + half, f32x4.add(f32x4.mul(v128.load(state + half, STATE_SUM), shrink), sum), STATE_SUM)
  }
}

/**
 * p = 2^(factor·(s − top)) in place for four queries, and Σ p. In two passes, the exponents waiting in `spare` [keys][4]: one
 * pass is a chain of some 40 cycles a vector, of which the processor cannot hold enough at once; two halves overlap better.
 *
 * A score of −∞ becomes 0 without a select in the second pass: rest 0, whose polynomial is the bits of 1, less those bits.
 */
// @ts-ignore: decorator
@inline
export function powers(s: usize, keys: i32, top: v128, factor: v128, floor: v128, spare: usize, infinities: bool): v128 {
  const magic = v128.load32_splat(EXP2)
  const end = s + (<usize>keys << 5)
  let exponents = spare
  for (let at = s; at < end; at += 32, exponents += 16) {
    const x = v128.load(at)
    const drop = f32x4.pmax(f32x4.sub(x, top), floor)
    const shifted = exp2Shifted(drop, factor, magic)
    const rest = exp2Rest(drop, factor, magic, shifted)
    if (infinities) {
      const hidden = f32x4.eq(x, f32x4.splat(-Infinity))
      v128.store(at, v128.andnot(rest, hidden))
      v128.store(exponents, v128.bitselect(i32x4.splat(-0x3f800000), i32x4.shl(shifted, 23), hidden))
    } else {
      v128.store(at, rest)
      v128.store(exponents, i32x4.shl(shifted, 23))
    }
  }
  const c0 = v128.load32_splat(EXP2, 4), c1 = v128.load32_splat(EXP2, 8), c2 = v128.load32_splat(EXP2, 12)
  const c3 = v128.load32_splat(EXP2, 16), c4 = v128.load32_splat(EXP2, 20), c5 = v128.load32_splat(EXP2, 24)
  let sum = i32x4.splat(0)
  for (; s < end; s += 32, spare += 16) {
    const p = i32x4.add(exp2Polynomial(v128.load(s), c0, c1, c2, c3, c4, c5), v128.load(spare))
    v128.store(s, p)
    sum = f32x4.add(sum, p)
  }
  return sum
}

/**
 * `softmaxGroup`, and the row statistics: moment = Σ p·factor·(s − m), distance = Σ p·|position − j|, and the first key of the
 * largest score. When factor·m moves by −δ, moment' = 2^δ·(moment + sum·δ). Same bits in p and sum as `softmaxGroup`.
 *
 * @param firstKey of `s`, counted from the block's start, and `blockStart` from the task's key 0
 * @param position i + queryOffset of the group's first row, less the block's start
 */
export function softmaxStatisticsGroup(
  s: usize, keys: i32, state: usize, largest: usize, rescale: usize, firstKey: i32, blockStart: i32, position: i32,
): void {
  const factor = v128.load32_splat(PARAMETERS, P_FACTOR), floor = v128.load32_splat(PARAMETERS, P_FLOOR)
  for (let half: usize = 0; half < 32; half += 16) {
    const old = v128.load(state + half, STATE_MAX)
    const sum = v128.load(state + half, STATE_SUM)
    const top = f32x4.pmax(old, v128.load(largest + half))
    const move = f32x4.pmax(f32x4.sub(old, top), floor)
    const shrink = exp2Vector(move, factor, floor)
    let index = v128.load(state + half, STATE_INDEX)
    let best = old
    let moment = i32x4.splat(0), distance = moment, total = moment
    const away = i32x4.add(i32x4.splat(position + <i32>(half >> 2)), i32x4(0, 1, 2, 3))
    for (let j = 0; j < keys; j++) {
      const at = s + half + (<usize>j << 5)
      const x = v128.load(at)
      const allowed = f32x4.ne(x, f32x4.splat(-Infinity))
      const drop = f32x4.pmax(f32x4.sub(x, top), floor)
      const p = v128.and(exp2Vector(drop, factor, floor), allowed)
      v128.store(at, p)
      total = f32x4.add(total, p)
      moment = madd(p, f32x4.mul(drop, factor), moment)
      const steps = i32x4.abs(i32x4.sub(away, i32x4.splat(firstKey + j)))
      distance = madd(p, f32x4.convert_i32x4_s(steps), distance)
      const better = v128.or(f32x4.gt(x, best), v128.and(allowed, i32x4.lt_s(index, i32x4.splat(0))))
      index = v128.bitselect(i32x4.splat(blockStart + firstKey + j), index, better)
      best = f32x4.pmax(best, x)
    }
    const carried = f32x4.mul(shrink, f32x4.add(v128.load(state + half, STATE_MOMENT), f32x4.mul(sum, f32x4.mul(move, factor))))
    v128.store(state + half, f32x4.add(carried, moment), STATE_MOMENT)
    v128.store(state + half, f32x4.add(f32x4.mul(v128.load(state + half, STATE_DISTANCE), shrink), distance), STATE_DISTANCE)
    v128.store(state + half, f32x4.add(f32x4.mul(sum, shrink), total), STATE_SUM)
    v128.store(state + half, top, STATE_MAX)
    v128.store(state + half, index, STATE_INDEX)
    v128.store(rescale + half, shrink)
  }
}

/**
 * weights = 2^(factor·(s − m))/sum in place of s, with the row's final maximum and sum; 0 where s is −∞ or the row saw no key.
 * A row whose allowed scores were all −∞ has sum 0: 0·∞ makes it NaN, as IEEE does.
 */
export function normaliseGroup(s: usize, keys: i32, state: usize, seen: u32): void {
  const factor = v128.load32_splat(PARAMETERS, P_FACTOR), floor = v128.load32_splat(PARAMETERS, P_FLOOR)
  for (let half: usize = 0; half < 32; half += 16) {
    const top = v128.load(state + half, STATE_MAX)
    const rows = half ? highLanes(seen) : lowLanes(seen)
    const inverse = v128.and(f32x4.div(f32x4.splat(1), v128.load(state + half, STATE_SUM)), rows)
    for (let at = s + half, end = at + (<usize>keys << 5); at < end; at += 32) {
      const x = v128.load(at)
      const p = v128.andnot(exp2Vector(f32x4.sub(x, top), factor, floor), f32x4.eq(x, f32x4.splat(-Infinity)))
      v128.store(at, f32x4.mul(p, inverse))
    }
  }
}
