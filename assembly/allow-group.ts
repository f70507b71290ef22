import {
  FLAG_BIAS, FLAG_MASK, FLAG_SEGMENTS, P_ALLOW, P_BIAS_LANES, P_FLAGS, P_HIGH_BASE, P_KEY_LIMIT, P_KEY_SEGMENTS, P_KEYS,
  P_LOW_BASE, P_MASK, P_MASK_STRIDE, P_QUERY_SEGMENTS, P_ROWS, PARAMETERS,
} from './abi'
import { toAllow } from './lanes'

/** No query of the group may see any key of the block; every query sees every key of [low, high); or it takes the allow bytes. */
export const NONE = 0
export const ALL = 1
export const SOME = 2

/** The keys that some query of the group may see, as `allowGroup` left them; `low` is a multiple of 4. */
export let low: i32 = 0
export let high: i32 = 0
/** The queries that saw a key: bit r for query r. */
export let seen: u32 = 0

/**
 * Joins band (causal, window, key limit), boolean mask, segments and biases of −∞ into one byte per key, bit r for query r
 * of group g. The bias must stand in lanes already. Rows past the tile's last count as allowed nothing.
 *
 * @param whole whether bytes are wanted for all keys of the block, even where the band leaves none
 */
export function allowGroup(group: i32, whole: bool): i32 {
  const flags = load<i32>(PARAMETERS, P_FLAGS)
  const keys = load<i32>(PARAMETERS, P_KEYS)
  const limit = min(load<i32>(PARAMETERS, P_KEY_LIMIT), keys)
  const first = group << 3
  const last = min(load<i32>(PARAMETERS, P_ROWS) - first, 8) - 1
  const lowest = load<i32>(PARAMETERS, P_LOW_BASE) + first
  const highest = load<i32>(PARAMETERS, P_HIGH_BASE) + first
  low = max(lowest, 0) & ~3
  high = min(highest + last, limit)
  const active: u32 = (1 << (last + 1)) - 1
  seen = 0
  if (low >= high && !whole) return NONE
  const banded = max(lowest + last, 0) != low || min(highest, limit) != high
  if (!banded && !(flags & (FLAG_MASK | FLAG_BIAS | FLAG_SEGMENTS)) && !whole) {
    seen = active
    return ALL
  }
  if (whole) {
    low = 0
    high = keys
  }
  if (flags & FLAG_MASK) maskBytes(first, last)
  else memory.fill(load<usize>(PARAMETERS, P_ALLOW) + <usize>low, 0xff, <usize>(high - low))
  if (banded || whole || flags & (FLAG_BIAS | FLAG_SEGMENTS)) narrow(first, lowest, highest, limit, flags)
  if (!whole) trim()
  return summary(active)
}

/** Takes keys that nobody sees off both ends. */
function trim(): void {
  const allow = load<usize>(PARAMETERS, P_ALLOW)
  while (high > low && !load<u8>(allow + <usize>high - 1)) high--
  while (low + 4 <= high && !load<u32>(allow + <usize>low)) low += 4
}

/** Mask rows to bytes, 16 keys at a time: rows are staged with room to the next multiple of 16. */
function maskBytes(first: i32, last: i32): void {
  const stride = load<usize>(PARAMETERS, P_MASK_STRIDE)
  const mask = load<usize>(PARAMETERS, P_MASK) + stride * <usize>first
  const allow = load<usize>(PARAMETERS, P_ALLOW)
  const zero = i32x4.splat(0)
  for (let j = low & ~15; j < high; j += 16) {
    let bytes = zero
    for (let r = 0; r <= last; r++) {
      const row = v128.load(mask + <usize>r * stride + <usize>j)
      bytes = v128.or(bytes, v128.and(i8x16.ne(row, zero), i8x16.splat(<i8>(<i32>1 << r))))
    }
    v128.store(allow + <usize>j, bytes)
  }
}

/** Takes from the bytes of [low, high) what lies outside the band, in another segment, or under a bias of −∞. */
function narrow(first: i32, lowest: i32, highest: i32, limit: i32, flags: i32): void {
  const allow = load<usize>(PARAMETERS, P_ALLOW)
  const bias = load<usize>(PARAMETERS, P_BIAS_LANES)
  const keySegments = load<usize>(PARAMETERS, P_KEY_SEGMENTS)
  const querySegments = load<usize>(PARAMETERS, P_QUERY_SEGMENTS) + (<usize>first << 2)
  const low0 = i32x4.add(i32x4.splat(lowest), i32x4(0, 1, 2, 3)), low1 = i32x4.add(i32x4.splat(lowest), i32x4(4, 5, 6, 7))
  const most = i32x4.splat(limit)
  const high0 = i32x4.min_s(i32x4.add(i32x4.splat(highest), i32x4(0, 1, 2, 3)), most)
  const high1 = i32x4.min_s(i32x4.add(i32x4.splat(highest), i32x4(4, 5, 6, 7)), most)
  for (let j = low; j < high; j++) {
    const key = i32x4.splat(j)
    let rows0 = v128.and(i32x4.ge_s(key, low0), i32x4.lt_s(key, high0))
    let rows1 = v128.and(i32x4.ge_s(key, low1), i32x4.lt_s(key, high1))
    if (flags & FLAG_SEGMENTS) {
      const segment = v128.load32_splat(keySegments + (<usize>j << 2))
      rows0 = v128.and(rows0, i32x4.eq(segment, v128.load(querySegments)))
      rows1 = v128.and(rows1, i32x4.eq(segment, v128.load(querySegments, 16)))
    }
    if (flags & FLAG_BIAS) {
      const at = bias + (<usize>j << 5)
      rows0 = v128.andnot(rows0, f32x4.eq(v128.load(at), f32x4.splat(-Infinity)))
      rows1 = v128.andnot(rows1, f32x4.eq(v128.load(at, 16), f32x4.splat(-Infinity)))
    }
    store<u8>(allow + <usize>j, load<u8>(allow + <usize>j) & <u8>toAllow(rows0, rows1))
  }
}

/** Which queries see any key, and whether all see all. */
function summary(active: u32): i32 {
  const allow = load<usize>(PARAMETERS, P_ALLOW)
  let anyBytes = i32x4.splat(0)
  let allBytes = i32x4.splat(-1)
  let j = low
  for (; j + 16 <= high; j += 16) {
    const bytes = v128.load(allow + <usize>j)
    anyBytes = v128.or(anyBytes, bytes)
    allBytes = v128.and(allBytes, bytes)
  }
  let any = <u32>fold(i64x2.extract_lane(anyBytes, 0) | i64x2.extract_lane(anyBytes, 1))
  let all = ~<u32>fold(~(i64x2.extract_lane(allBytes, 0) & i64x2.extract_lane(allBytes, 1)))
  for (; j < high; j++) {
    const bits = <u32>load<u8>(allow + <usize>j)
    any |= bits
    all &= bits
  }
  seen = any & active
  if (!seen) return NONE
  return (all & active) == active ? ALL : SOME
}

/** The or of eight bytes, in the lowest. */
// @ts-ignore: decorator
@inline
function fold(bytes: u64): u64 {
  bytes |= bytes >> 32
  bytes |= bytes >> 16
  return (bytes | (bytes >> 8)) & 0xff
}
