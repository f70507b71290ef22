import { STATE_BYTES, STATE_INDEX, STATE_MAX, STATE_SEEN, STATE_SUM } from './abi'
import { highLanes, lowLanes, LOWEST } from './lanes'

/** Moves between row-major [rows][width] and lanes [width][8], and what goes with them at the ends of a pass. */

/**
 * to[g][c][r] = factor·from[8g + r][c]; lanes past `rows` become 0.
 *
 * @param from [rows][width], row-major, `stride` elements apart; may be 0 for one row for all
 * @param to [⌈rows/8⌉][step][8]; a group is `step` × 8 elements
 */
export function packLanes(from: usize, stride: i32, to: usize, rows: i32, width: i32, step: i32, factor: f32): void {
  const factors = f32x4.splat(factor)
  const next = <usize>stride << 2
  for (let first = 0; first < rows; first += 4, from += next << 2) {
    let lane = to + (<usize>(first >> 3) * (<usize>step << 5)) + ((<usize>first & 4) << 2)
    const count = min(rows - first, 4)
    const b = count > 1 ? from + next : from
    const c = count > 2 ? from + (next << 1) : from
    const d = count > 3 ? from + next * 3 : from
    const lanes = lowLanes((1 << count) - 1)
    let at: usize = 0
    for (const fours = <usize>(width & ~3) << 2; at < fours; at += 16, lane += 128) {
      const x0 = v128.load(from + at), x1 = v128.load(b + at), x2 = v128.load(c + at), x3 = v128.load(d + at)
      const y0 = v128.shuffle<f32>(x0, x1, 0, 4, 1, 5), y1 = v128.shuffle<f32>(x0, x1, 2, 6, 3, 7)
      const y2 = v128.shuffle<f32>(x2, x3, 0, 4, 1, 5), y3 = v128.shuffle<f32>(x2, x3, 2, 6, 3, 7)
      v128.store(lane, v128.and(f32x4.mul(v128.shuffle<f32>(y0, y2, 0, 1, 4, 5), factors), lanes))
      v128.store(lane, v128.and(f32x4.mul(v128.shuffle<f32>(y0, y2, 2, 3, 6, 7), factors), lanes), 32)
      v128.store(lane, v128.and(f32x4.mul(v128.shuffle<f32>(y1, y3, 0, 1, 4, 5), factors), lanes), 64)
      v128.store(lane, v128.and(f32x4.mul(v128.shuffle<f32>(y1, y3, 2, 3, 6, 7), factors), lanes), 96)
    }
    for (const end = <usize>width << 2; at < end; at += 4, lane += 32) {
      const x = f32x4(load<f32>(from + at), load<f32>(b + at), load<f32>(c + at), load<f32>(d + at))
      v128.store(lane, v128.and(f32x4.mul(x, factors), lanes))
    }
    if (rows - first <= 4 && !(first & 4)) clearUpper(to + (<usize>(first >> 3) * (<usize>step << 5)), width)
  }
}

/** to[⌊j/4⌋][c][j mod 4] = from[j][c] for a block of keys [keys][D]; keys that fill the last four up become 0. */
export function packKeys(from: usize, to: usize, keys: i32, headSize: i32): void {
  const stride = <usize>headSize << 2
  for (; keys > 0; keys -= 4, from += stride << 2) {
    const b = keys > 1 ? from + stride : from
    const c = keys > 2 ? b + stride : from
    const d = keys > 3 ? c + stride : from
    const lanes = keys > 3 ? i32x4.splat(-1) : lowLanes((1 << keys) - 1)
    let at: usize = 0
    for (const fours = stride & ~15; at < fours; at += 16, to += 64) {
      const x0 = v128.load(from + at), x1 = v128.load(b + at), x2 = v128.load(c + at), x3 = v128.load(d + at)
      const y0 = v128.shuffle<f32>(x0, x1, 0, 4, 1, 5), y1 = v128.shuffle<f32>(x0, x1, 2, 6, 3, 7)
      const y2 = v128.shuffle<f32>(x2, x3, 0, 4, 1, 5), y3 = v128.shuffle<f32>(x2, x3, 2, 6, 3, 7)
      v128.store(to, v128.and(v128.shuffle<f32>(y0, y2, 0, 1, 4, 5), lanes))
      v128.store(to, v128.and(v128.shuffle<f32>(y0, y2, 2, 3, 6, 7), lanes), 16)
      v128.store(to, v128.and(v128.shuffle<f32>(y1, y3, 0, 1, 4, 5), lanes), 32)
      v128.store(to, v128.and(v128.shuffle<f32>(y1, y3, 2, 3, 6, 7), lanes), 48)
    }
    for (; at < stride; at += 4, to += 16) {
      const x = f32x4(load<f32>(from + at), load<f32>(b + at), load<f32>(c + at), load<f32>(d + at))
      v128.store(to, v128.and(x, lanes))
    }
  }
}

/** to[⌊c/4⌋][j][c mod 4] = from[j][c] for a block of values [keys][Dv]; columns that fill the last four up become 0. */
export function packValues(from: usize, to: usize, keys: i32, valueSize: i32): void {
  const quad = <usize>keys << 4
  for (; keys > 0; keys--, to += 16) {
    let at = to
    let columns = valueSize
    for (; columns >= 4; columns -= 4, at += quad, from += 16) v128.store(at, v128.load(from))
    if (columns > 0) {
      let x = v128.load32_zero(from)
      if (columns > 1) x = v128.load_lane<f32>(from, x, 1, 4)
      if (columns > 2) x = v128.load_lane<f32>(from, x, 2, 8)
      v128.store(at, x)
      from += <usize>columns << 2
    }
  }
}

/** Lanes 4 … 7 of a group without such rows. */
function clearUpper(to: usize, width: i32): void {
  for (const end = to + (<usize>width << 5); to < end; to += 32) v128.store(to, i32x4.splat(0), 16)
}

/** to[r][c] = from[c][r] for 8 rows; `to` has room for 8 rows of `stride` elements. */
export function unpackLanes(from: usize, to: usize, stride: i32, width: i32): void {
  const next = <usize>stride << 2
  for (let half: usize = 0; half < 32; half += 16, to += next << 2) {
    let lane = from + half
    let at = to
    const b = next, c = next << 1, d = next * 3
    for (const fours = to + (<usize>(width & ~3) << 2); at < fours; at += 16, lane += 128) {
      const x0 = v128.load(lane), x1 = v128.load(lane, 32), x2 = v128.load(lane, 64), x3 = v128.load(lane, 96)
      const y0 = v128.shuffle<f32>(x0, x1, 0, 4, 1, 5), y1 = v128.shuffle<f32>(x0, x1, 2, 6, 3, 7)
      const y2 = v128.shuffle<f32>(x2, x3, 0, 4, 1, 5), y3 = v128.shuffle<f32>(x2, x3, 2, 6, 3, 7)
      v128.store(at, v128.shuffle<f32>(y0, y2, 0, 1, 4, 5))
      v128.store(at + b, v128.shuffle<f32>(y0, y2, 2, 3, 6, 7))
      v128.store(at + c, v128.shuffle<f32>(y1, y3, 0, 1, 4, 5))
      v128.store(at + d, v128.shuffle<f32>(y1, y3, 2, 3, 6, 7))
    }
    for (const end = to + (<usize>width << 2); at < end; at += 4, lane += 32) {
      store<f32>(at, load<f32>(lane))
      store<f32>(at + b, load<f32>(lane, 4))
      store<f32>(at + c, load<f32>(lane, 8))
      store<f32>(at + d, load<f32>(lane, 12))
    }
  }
}

/** The state and output of rows that have seen no key yet. */
export function resetGroups(state: usize, output: usize, groups: i32, valueSize: i32): void {
  memory.fill(output, 0, <usize>groups * (<usize>((valueSize + 3) & ~3) << 5))
  for (let g = 0; g < groups; g++, state += STATE_BYTES) {
    memory.fill(state, 0, STATE_BYTES)
    for (let half: usize = 0; half < 32; half += 16) {
      v128.store(state + half, f32x4.splat(LOWEST), STATE_MAX)
      v128.store(state + half, i32x4.splat(-1), STATE_INDEX)
    }
  }
}

/**
 * rows[8g + r][c] = output[g][c][r]·keepScale/sum[r] + 0, and 0 for rows that saw no key. Adding 0 turns −0 into 0: which of
 * the two an unfinished row holds depends on how many blocks it met.
 *
 * @param output [groups][Dv, rounded up to 4][8]
 * @param inverse whether to divide by the sum; in standard mode the weights are divided already
 * @param to [8·groups][Dv], row-major
 */
export function finaliseGroups(output: usize, state: usize, to: usize, groups: i32, valueSize: i32, keepScale: f32, inverse: bool): void {
  const step = <usize>((valueSize + 3) & ~3) << 5
  for (let g = 0; g < groups; g++, state += STATE_BYTES, output += step, to += <usize>valueSize << 5) {
    const bits = load<u32>(state, STATE_SEEN)
    const scale = f32x4.splat(keepScale)
    const by0 = inverse ? f32x4.div(scale, v128.load(state, STATE_SUM)) : scale
    const by1 = inverse ? f32x4.div(scale, v128.load(state, STATE_SUM + 16)) : scale
    const rows0 = lowLanes(bits), rows1 = highLanes(bits), zero = i32x4.splat(0)
    for (let at = output, end = output + (<usize>valueSize << 5); at < end; at += 32) {
      v128.store(at, v128.and(f32x4.add(f32x4.mul(v128.load(at), by0), zero), rows0))
      v128.store(at, v128.and(f32x4.add(f32x4.mul(v128.load(at, 16), by1), zero), rows1), 16)
    }
    unpackLanes(output, to, valueSize, valueSize)
  }
}

/** Whether any of `count` floats is NaN, infinite or at least 2^56 in magnitude: then products may not be finite. */
export function hasExtremes(from: usize, count: i32): bool {
  const magnitude = i32x4.splat(0x7fffffff)
  let a = i32x4.splat(0), b = a, c = a, d = a
  for (; count >= 16; count -= 16, from += 64) {
    a = i32x4.max_s(a, v128.and(v128.load(from), magnitude))
    b = i32x4.max_s(b, v128.and(v128.load(from, 16), magnitude))
    c = i32x4.max_s(c, v128.and(v128.load(from, 32), magnitude))
    d = i32x4.max_s(d, v128.and(v128.load(from, 48), magnitude))
  }
  for (; count > 0; count--, from += 4) a = i32x4.max_s(a, v128.and(v128.load32_zero(from), magnitude))
  const largest = i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d))
  return v128.any_true(i32x4.ge_s(largest, i32x4.splat((127 + 56) << 23)))
}
