import { highLanes, lowLanes } from './lanes'

/**
 * Makes scores fit for the softmax: −∞ where a query may not see the key, the canonical NaN for every NaN (see exp2.ts);
 * then the largest score of each row, LOWEST where all are −∞ or NaN.
 *
 * @param s scores [keys][8], changed in place
 * @param allow a byte per key, bit r for query r; 0 where there is no mask
 * @param largest f32 [8], written
 * @param wild whether there may be NaN
 */
export function limitGroup(s: usize, keys: i32, allow: usize, largest: usize, wild: bool): void {
  if (!wild) limit(s, keys, allow, largest, true, false)
  else if (allow) limit(s, keys, allow, largest, true, true)
  else limit(s, keys, allow, largest, false, true)
}

// @ts-ignore: decorator
@inline
function limit(s: usize, keys: i32, allow: usize, largest: usize, masked: bool, wild: bool): void {
  const hidden = f32x4.splat(-Infinity)
  const nan = f32x4.splat(NaN)
  let top0 = f32x4.splat(-3.4028234663852886e38)
  let top1 = top0
  for (const end = s + (<usize>keys << 5); s < end; s += 32, allow++) {
    let x0 = v128.load(s), x1 = v128.load(s, 16)
    if (wild) {
      x0 = v128.bitselect(x0, nan, f32x4.eq(x0, x0))
      x1 = v128.bitselect(x1, nan, f32x4.eq(x1, x1))
    }
    if (masked) {
      const bits = <u32>load<u8>(allow)
      x0 = v128.bitselect(x0, hidden, lowLanes(bits))
      x1 = v128.bitselect(x1, hidden, highLanes(bits))
    }
    v128.store(s, x0)
    v128.store(s, x1, 16)
    top0 = f32x4.pmax(top0, x0)
    top1 = f32x4.pmax(top1, x1)
  }
  v128.store(largest, top0)
  v128.store(largest, top1, 16)
}
