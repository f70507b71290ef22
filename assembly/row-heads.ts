import { madd } from './lanes'
import { acrossLanes } from './row-statistics'

/** Between head-major [heads][rows][headSize], as attention reads and writes, and rows [rows][heads·headSize]. */

/**
 * to[r][h·D + c] = from[h][r][c], or += with `add`.
 *
 * @param from [heads][rows][headSize]
 * @param to [rows][heads·headSize]; overlaps nothing
 */
export function gatherHeads(from: usize, rows: i32, heads: i32, headSize: i32, to: usize, add: bool): void {
  const headBytes = <usize>headSize << 2
  const rowBytes = <usize>heads * headBytes
  for (; heads > 0; heads--, to += headBytes) {
    let at = to
    for (let row = 0; row < rows; row++, at += rowBytes, from += headBytes) {
      if (add) moveHead(from, headBytes, at, true)
      else moveHead(from, headBytes, at, false)
    }
  }
}

/**
 * to[h][r][c] = from[r][h·D + c], the other way.
 *
 * @param from [rows][heads·headSize]
 * @param to [heads][rows][headSize]; overlaps nothing
 */
export function scatterHeads(from: usize, rows: i32, heads: i32, headSize: i32, to: usize): void {
  const headBytes = <usize>headSize << 2
  const rowBytes = <usize>heads * headBytes
  for (; heads > 0; heads--, from += headBytes) {
    let at = from
    for (let row = 0; row < rows; row++, at += rowBytes, to += headBytes) moveHead(at, headBytes, to, false)
  }
}

// @ts-ignore: decorator
@inline
function moveHead(from: usize, headBytes: usize, to: usize, add: bool): void {
  let at: usize = 0
  for (const fours = headBytes & ~15; at < fours; at += 16) {
    const x = v128.load(from + at)
    v128.store(to + at, add ? f32x4.add(v128.load(to + at), x) : x)
  }
  for (; at < headBytes; at += 4) {
    const x = v128.load32_zero(from + at)
    v128.store_lane<f32>(to + at, add ? f32x4.add(v128.load32_zero(to + at), x) : x, 0)
  }
}

/**
 * to[r][h] = Σ_c a[r][h·D + c]·b[r][h·D + c]: δ of attention's gradient (Dao 2023, algorithm 2) for every head of a row.
 *
 * @param a [rows][heads·headSize]
 * @param b [rows][heads·headSize]
 * @param to [rows][heads]; overlaps nothing
 */
export function headDots(a: usize, b: usize, rows: i32, heads: i32, headSize: i32, to: usize): void {
  const headBytes = <usize>headSize << 2
  for (const end = to + (<usize>rows * <usize>heads << 2); to < end; to += 4, a += headBytes, b += headBytes) {
    let low = f32x4.splat(0), high = low
    let at: usize = 0
    for (const eights = headBytes & ~31; at < eights; at += 32) {
      low = madd(v128.load(a + at), v128.load(b + at), low)
      high = madd(v128.load(a + at, 16), v128.load(b + at, 16), high)
    }
    let sum = acrossLanes(f32x4.add(low, high))
    for (; at < headBytes; at += 4) sum += load<f32>(a + at) * load<f32>(b + at)
    store<f32>(to, sum)
  }
}
