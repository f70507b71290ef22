import {
  FLAG_BIAS_COLUMNS, FLAG_BIAS_MATRIX, FLAG_BIAS_ROWS, FLAG_DROPOUT, FLAG_EXTREME_VALUES, FLAG_SLOPES, FLAG_SOFTCAP, P_ALLOW, P_BIAS_COLUMNS, P_BIAS_LANES,
  P_BIAS_ROWS, P_BLOCK_ROWS, P_D_KEY, P_D_OUTPUT, P_D_OUTPUT_ROWS, P_D_QUERY, P_D_SCORES, P_D_VALUE, P_DELTA, P_FLAGS, P_HEAD_SIZE, P_KEPT,
  P_KEY_PANELS, P_LOG_SUM_EXP, P_POSITION, P_PROBABILITIES, P_QUERY_ROWS, P_RANGES, P_ROWS, P_ROWS_OUT, P_ROWS_STRIDE, P_SLOPE_ROWS,
  P_SOFTCAP_SLOPES, P_VALUE_KEYS, P_VALUE_SIZE, P_VECTORS, PARAMETERS,
} from './abi'
import { high, low, NONE } from './allow-group'
import { dropoutGroup } from './dropout-group'
import { keepGroup, multiplyGroup, positiveZeros, scoreGradientGroup, sumGroupColumns, sumGroupDistances, sumGroupRows } from './gradient-group'
import { outerKeyExtreme, outerKeys } from './outer-keys'
import { outerRows, outerRowsExtreme } from './outer-rows'
import { unpackLanes } from './pack'
import { probabilityGroup } from './probability-group'
import { scoreGroup } from './score-group'
import { allowBytes, scoreKeys, visibleKeys } from './score-keys'

/** The keys that any group of the tile sees; `tileLow` is a multiple of 4. */
let tileLow: i32 = 0
let tileHigh: i32 = 0

/**
 * One tile of the backward pass: up to 64 queries in groups of 8 against one key block, by the parameter block (abi.ts), as
 * FlashAttention-2 has it (Dao 2023, algorithm 2), with the queries in lanes:
 *
 *   P = 2^(factor·(S − L))   dP = dO·Vᵀ → dropout   dS = P·(dP − δ)   dV += dropout(P)ᵀ·dO   dQ += dS·K   dK += dSᵀ·Q
 *
 * dO comes multiplied by 1/(1 − p); dQ and dK lack the scale. Every element of dQ, dK and dV is one chain of sums, over keys
 * or over queries in ascending order; where a query does not see a key, an exact zero is added, or nothing.
 *
 * @returns the number of groups that saw a key; the others cost nothing
 */
export function backwardTile(): i32 {
  const active = probabilities(GRADIENTS)
  if (active == 0) return 0
  accumulate(load<usize>(PARAMETERS, P_PROBABILITIES), load<usize>(PARAMETERS, P_D_OUTPUT_ROWS), load<i32>(PARAMETERS, P_VALUE_SIZE), load<usize>(PARAMETERS, P_D_VALUE))
  accumulate(load<usize>(PARAMETERS, P_D_SCORES), load<usize>(PARAMETERS, P_QUERY_ROWS), load<i32>(PARAMETERS, P_HEAD_SIZE), load<usize>(PARAMETERS, P_D_KEY))
  return active
}

/** One tile of Pᵀ·X, the same way: Y += Pᵀ·X, without dropout. X takes the place of dO, Y that of dV. */
export function transposedTile(): i32 {
  const active = probabilities(PROBABILITIES)
  if (active == 0) return 0
  accumulate(load<usize>(PARAMETERS, P_PROBABILITIES), load<usize>(PARAMETERS, P_D_OUTPUT_ROWS), load<i32>(PARAMETERS, P_VALUE_SIZE), load<usize>(PARAMETERS, P_D_VALUE))
  return active
}

/** dS of one tile, for what P_FLAGS asks of it alone: a bias that several heads share. Neither dQ nor dK nor dV. */
export function scoreGradientTile(): i32 {
  return probabilities(SCORE_GRADIENTS)
}

/** How far `probabilities` goes: P; dS too; dQ too. */
const PROBABILITIES = 0
const SCORE_GRADIENTS = 1
const GRADIENTS = 2

/** P of every group, and more, as `depth` says. Each group keeps its own allow bytes and range of keys. */
function probabilities(depth: i32): i32 {
  const rows = load<i32>(PARAMETERS, P_ROWS)
  const blockRows = load<i32>(PARAMETERS, P_BLOCK_ROWS)
  const ranges = load<usize>(PARAMETERS, P_RANGES)
  const allow = load<usize>(PARAMETERS, P_ALLOW)
  let active = 0
  tileLow = blockRows
  tileHigh = 0
  for (let group = 0; group << 3 < rows; group++) {
    store<usize>(PARAMETERS, allow + <usize>(group * blockRows), P_ALLOW)
    const visible = visibleKeys(group, false)
    const range = ranges + (<usize>group << 3)
    store<i32>(range, visible == NONE ? 0 : low)
    store<i32>(range, visible == NONE ? 0 : high, 4)
    if (visible == NONE) continue
    active++
    tileLow = min(tileLow, low)
    tileHigh = max(tileHigh, high)
    probabilitiesOf(group, visible, depth)
  }
  store<usize>(PARAMETERS, allow, P_ALLOW)
  return active
}

/** The same of keys [low, high) for one group. */
function probabilitiesOf(group: i32, visible: i32, depth: i32): void {
  const flags = load<i32>(PARAMETERS, P_FLAGS)
  const place = (<usize>group * <usize>load<i32>(PARAMETERS, P_BLOCK_ROWS) + <usize>low) << 5
  const p = load<usize>(PARAMETERS, P_PROBABILITIES) + place
  const slopes = load<usize>(PARAMETERS, P_SOFTCAP_SLOPES)
  const allow = allowBytes(visible, flags)
  const limited = scoreKeys(group, allow, p, slopes)
  // The biases in lanes have done their part: their room is free.
  probabilityGroup(p, high - low, load<usize>(PARAMETERS, P_LOG_SUM_EXP) + (<usize>group << 5), load<usize>(PARAMETERS, P_BIAS_LANES), limited)
  if (depth == PROBABILITIES) return
  const d = load<usize>(PARAMETERS, P_D_SCORES) + place
  const valueSize = load<i32>(PARAMETERS, P_VALUE_SIZE)
  const dOutput = load<usize>(PARAMETERS, P_D_OUTPUT) + <usize>group * (<usize>valueSize << 5)
  const value = load<usize>(PARAMETERS, P_VALUE_KEYS) + (<usize>low * <usize>valueSize << 2)
  scoreGroup(dOutput, value, d, high - low, valueSize, load<usize>(PARAMETERS, P_VECTORS))
  const kept = load<usize>(PARAMETERS, P_KEPT)
  if (flags & FLAG_DROPOUT) {
    memory.fill(kept + <usize>low, 0xff, <usize>(high - low))
    dropoutGroup(d, low, high, group, kept)
  }
  const delta = load<usize>(PARAMETERS, P_DELTA) + (<usize>group << 5)
  scoreGradientGroup(p, d, high - low, delta, flags & FLAG_EXTREME_VALUES ? allow + <usize>low : 0)
  if (flags & FLAG_DROPOUT) keepGroup(p, high - low, kept + <usize>low)
  sumScoreGradients(group, d, flags)
  if (depth == SCORE_GRADIENTS) return
  if (flags & FLAG_SOFTCAP) multiplyGroup(d, slopes, high - low)
  queryGradients(group, d, flags, allow)
}

/** What the bias and the slopes get of one group's dS. */
function sumScoreGradients(group: i32, d: usize, flags: i32): void {
  const keys = high - low
  const rows = <usize>group << 5
  if (flags & FLAG_BIAS_MATRIX) {
    const stride = load<i32>(PARAMETERS, P_ROWS_STRIDE)
    positiveZeros(d, keys)
    unpackLanes(d, load<usize>(PARAMETERS, P_ROWS_OUT) + (<usize>(group * stride) << 5) + (<usize>low << 2), stride, keys)
  }
  if (flags & FLAG_BIAS_COLUMNS) sumGroupColumns(d, keys, load<usize>(PARAMETERS, P_BIAS_COLUMNS) + (<usize>low << 2))
  if (flags & FLAG_BIAS_ROWS) sumGroupRows(d, keys, load<usize>(PARAMETERS, P_BIAS_ROWS) + rows)
  if (flags & FLAG_SLOPES) sumGroupDistances(d, keys, load<i32>(PARAMETERS, P_POSITION) + (group << 3) - low, load<usize>(PARAMETERS, P_SLOPE_ROWS) + rows)
}

/** dQ += dS·K for one group. */
function queryGradients(group: i32, d: usize, flags: i32, allow: usize): void {
  const headSize = load<i32>(PARAMETERS, P_HEAD_SIZE)
  const panel = <usize>load<i32>(PARAMETERS, P_BLOCK_ROWS) << 5
  const panels = load<usize>(PARAMETERS, P_KEY_PANELS) + (<usize>low << 5)
  const stride = <usize>((headSize + 7) & ~7) << 2
  const dQuery = load<usize>(PARAMETERS, P_D_QUERY) + <usize>(group << 3) * stride
  if (flags & FLAG_EXTREME_VALUES) {
    outerRowsExtreme(d, panels, panel, dQuery, stride, high - low, headSize, allow + <usize>low)
    return
  }
  outerRows(d, panels, panel, dQuery, stride, high - low, headSize)
  outerRows(d + 16, panels, panel, dQuery + (stride << 2), stride, high - low, headSize)
}

/**
 * Y += Wᵀ·X over the tile's queries, for the keys that any group sees.
 *
 * @param w P or dS, [groups][block][8]
 * @param x [TILE_ROWS][width, padded to eight]
 * @param y [block][width, padded to eight]
 */
function accumulate(w: usize, x: usize, width: i32, y: usize): void {
  const stride = <usize>((width + 7) & ~7) << 2
  if (load<i32>(PARAMETERS, P_FLAGS) & FLAG_EXTREME_VALUES) {
    accumulateExtreme(w, x, stride, y)
    return
  }
  const groups = (load<i32>(PARAMETERS, P_ROWS) + 7) >> 3
  const ranges = load<usize>(PARAMETERS, P_RANGES)
  const groupBytes = <usize>load<i32>(PARAMETERS, P_BLOCK_ROWS) << 5
  clearUnseen(w, groups, groupBytes)
  for (let j = tileLow; j < tileHigh; j += 4) {
    let first = 0, last = groups - 1
    while (first < last && !sees(ranges, first, j)) first++
    while (last > first && !sees(ranges, last, j)) last--
    const from = w + <usize>first * groupBytes + (<usize>j << 5)
    outerKeys(from, groupBytes, last - first + 1, x + <usize>(first << 3) * stride, stride, y + <usize>j * stride)
  }
}

/** Whether a group sees any of keys [j, j + 4). */
// @ts-ignore: decorator
@inline
function sees(ranges: usize, group: i32, j: i32): bool {
  const range = ranges + (<usize>group << 3)
  return load<i32>(range) < j + 4 && j < load<i32>(range, 4)
}

/** Zeros where a group does not see keys that others of the tile see. */
function clearUnseen(w: usize, groups: i32, groupBytes: usize): void {
  const ranges = load<usize>(PARAMETERS, P_RANGES)
  const end = (tileHigh + 3) & ~3
  for (let group = 0; group < groups; group++, w += groupBytes) {
    const from = load<i32>(ranges + (<usize>group << 3)), to = max(load<i32>(ranges + (<usize>group << 3), 4), tileLow)
    if (from > tileLow) memory.fill(w + (<usize>tileLow << 5), 0, <usize>(from - tileLow) << 5)
    memory.fill(w + (<usize>to << 5), 0, <usize>(end - to) << 5)
  }
}

/** `accumulate` by the allow bytes. */
function accumulateExtreme(w: usize, x: usize, stride: usize, y: usize): void {
  const groups = (load<i32>(PARAMETERS, P_ROWS) + 7) >> 3
  const blockRows = <usize>load<i32>(PARAMETERS, P_BLOCK_ROWS)
  const ranges = load<usize>(PARAMETERS, P_RANGES)
  const allow = load<usize>(PARAMETERS, P_ALLOW)
  for (let group: usize = 0; group < <usize>groups; group++) {
    const from = load<i32>(ranges + (group << 3)), to = load<i32>(ranges + (group << 3), 4)
    for (let j = <usize>from; j < <usize>to; j++) {
      const place = group * blockRows + j
      outerKeyExtreme(w + (place << 5), x + (group << 3) * stride, stride, y + j * stride, <u32>load<u8>(allow + place))
    }
  }
}
