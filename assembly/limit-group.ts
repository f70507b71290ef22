import { highLanes, lowLanes } from './lanes'

/**
 * Makes scores fit for the softmax: −∞ where a query may not see the key, the canonical NaN for every NaN (see exp2.ts);
 * then the largest score of each row, LOWEST where all are −∞ or NaN.
 *
 * @param s scores [keys][8], changed in place
 * @param allow a byte per key, bit r for query r; 0 where there is no mask
 * @param largest f32 [8], written
 */
export function limitGroup(s: usize, keys: i32, allow: usize, largest: usize): void {
  const masked = f32x4.splat(-Infinity)
  const nan = f32x4.splat(NaN)
  let top0 = f32x4.splat(-3.4028234663852886e38)
  let top1 = top0
  for (let j = 0; j < keys; j++) {
    const at = s + (<usize>j << 5)
    let x0 = v128.load(at), x1 = v128.load(at, 16)
    x0 = v128.bitselect(x0, nan, f32x4.eq(x0, x0))
    x1 = v128.bitselect(x1, nan, f32x4.eq(x1, x1))
    if (allow) {
      const bits = <u32>load<u8>(allow + <usize>j)
      x0 = v128.bitselect(x0, masked, lowLanes(bits))
      x1 = v128.bitselect(x1, masked, highLanes(bits))
    }
    v128.store(at, x0)
    v128.store(at, x1, 16)
    top0 = f32x4.pmax(top0, x0)
    top1 = f32x4.pmax(top1, x1)
  }
  v128.store(largest, top0)
  v128.store(largest, top1, 16)
}
