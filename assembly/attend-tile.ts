import {
  FEW_ROWS, FLAG_ALIBI, FLAG_BIAS, FLAG_DROPOUT, FLAG_EXTREME_SCORES, FLAG_EXTREME_VALUES, FLAG_ROW_MAJOR_KEYS, FLAG_ROW_MAJOR_VALUES, FLAG_SOFTCAP, FLAG_STATISTICS, P_ALIBI_SLOPE,
  P_ALLOW, P_BIAS, P_BIAS_LANES, P_BIAS_STRIDE, P_BLOCK_START, P_FLAGS, P_HEAD_SIZE, P_KEY, P_KEYS, P_OUTPUT, P_PHASE,
  P_POSITION, P_QUERY, P_ROWS, P_ROWS_OUT, P_ROWS_STRIDE, P_SCALE, P_SCORES, P_SOFTCAP, P_STATE, P_VALUE, P_VALUE_SIZE, P_VECTORS,
  PARAMETERS, PHASE_CHUNKED, PHASE_SCORES, PHASE_VALUES, PHASE_WEIGHTS, STATE_BYTES, STATE_SEEN,
} from './abi'
import { ALL, allowGroup, high, low, NONE, seen, SOME } from './allow-group'
import { dropoutGroup } from './dropout-group'
import { scoreRows, valueRows } from './few-rows'
import { limitGroup } from './limit-group'
import { highLanes, lowLanes } from './lanes'
import { packLanes, unpackLanes } from './pack'
import { scoreGroup } from './score-group'
import { normaliseGroup, softmaxGroup, softmaxStatisticsGroup } from './softmax-group'
import { transformGroup } from './transform-group'
import { valueGroup, valueGroupExtreme } from './value-group'

/**
 * One tile of attention: up to 64 queries in groups of 8 against one key block, by the parameter block (abi.ts):
 *
 *   S = Q·Kᵀ → scale, softcap, bias, ALiBi → masks → online softmax (base 2) → dropout → O = O·rescale + P·V
 *
 * as FlashAttention-2 has it (Dao, "FlashAttention-2: faster attention with better parallelism and work partitioning", 2023),
 * with the queries in lanes. A query's result takes the same roundings whatever its neighbours, masks or phase flags of the
 * tile are: groups leave out keys that none of their queries sees, and what is left out would have added exact zeros.
 *
 * @returns the number of groups that saw a key; the others cost nothing
 */
export function attendTile(): i32 {
  const rows = load<i32>(PARAMETERS, P_ROWS)
  const phase = load<i32>(PARAMETERS, P_PHASE)
  let active = 0
  for (let group = 0; group << 3 < rows; group++) {
    const visible = visibleKeys(group, phase)
    if (visible != NONE) {
      const state = load<usize>(PARAMETERS, P_STATE) + <usize>group * STATE_BYTES
      if (phase <= PHASE_SCORES) store<u32>(state, load<u32>(state, STATE_SEEN) | seen, STATE_SEEN)
      active++
    }
    if (phase == PHASE_CHUNKED) {
      if (visible != NONE) chunkedGroup(group, visible)
    } else {
      matrixGroup(group, visible, phase)
    }
  }
  return active
}

/** allowGroup, after the group's biases were put in lanes. */
function visibleKeys(group: i32, phase: i32): i32 {
  if (load<i32>(PARAMETERS, P_FLAGS) & FLAG_BIAS) {
    const stride = load<i32>(PARAMETERS, P_BIAS_STRIDE)
    const keys = load<i32>(PARAMETERS, P_KEYS)
    const bias = load<usize>(PARAMETERS, P_BIAS) + (<usize>(group * stride) << 5)
    packLanes(bias, stride, load<usize>(PARAMETERS, P_BIAS_LANES), min(load<i32>(PARAMETERS, P_ROWS) - (group << 3), 8), keys, keys, 1)
  }
  return allowGroup(group, phase != PHASE_CHUNKED)
}

/** Scores, softmax and values of keys [low, high) for one group. */
function chunkedGroup(group: i32, visible: i32): void {
  const flags = load<i32>(PARAMETERS, P_FLAGS)
  const allow = allowBytes(visible, flags)
  const limited = scoreKeys(group, allow)
  softmaxKeys(group, limited)
  const scores = load<usize>(PARAMETERS, P_SCORES)
  if (flags & FLAG_DROPOUT) dropoutGroup(scores, low, high, group, flags & FLAG_EXTREME_VALUES ? allow : 0)
  valueKeys(group, allow, flags)
}

/** Standard mode's passes, and weights of chosen rows: all keys of the block, as the matrix holds them. */
function matrixGroup(group: i32, visible: i32, phase: i32): void {
  const flags = load<i32>(PARAMETERS, P_FLAGS)
  const keys = load<i32>(PARAMETERS, P_KEYS)
  const scores = load<usize>(PARAMETERS, P_SCORES)
  const state = load<usize>(PARAMETERS, P_STATE) + <usize>group * STATE_BYTES
  const stride = load<i32>(PARAMETERS, P_ROWS_STRIDE)
  const rowsOut = load<usize>(PARAMETERS, P_ROWS_OUT) + (<usize>(group * stride) << 5)
  const allow = load<usize>(PARAMETERS, P_ALLOW)
  if (phase == PHASE_VALUES) packLanes(rowsOut, stride, scores, 8, keys, keys, 1)
  else scoreKeys(group, allow)
  if (phase == PHASE_SCORES) {
    unpackLanes(scores, rowsOut, stride, keys)
    softmaxKeys(group, true)
    return
  }
  normaliseGroup(scores, keys, state, load<u32>(state, STATE_SEEN))
  if (visible != ALL) clearMasked(scores, keys, allow)
  unpackLanes(scores, rowsOut, stride, keys)
  if (phase == PHASE_WEIGHTS || visible == NONE) return
  const rescale = load<usize>(PARAMETERS, P_VECTORS)
  v128.store(rescale, f32x4.splat(1), 32)
  v128.store(rescale, f32x4.splat(1), 48)
  if (flags & FLAG_DROPOUT) dropoutGroup(scores, 0, keys, group, flags & FLAG_EXTREME_VALUES ? allow : 0)
  valueKeys(group, allow, flags)
}

/** The allow bytes where the group needs them, else 0. */
function allowBytes(visible: i32, flags: i32): usize {
  const allow = load<usize>(PARAMETERS, P_ALLOW)
  if (visible == SOME) return allow
  if (!(flags & FLAG_EXTREME_VALUES)) return 0
  memory.fill(allow + <usize>low, 0xff, <usize>(high - low))
  return allow
}

/** Scores of keys [low, high), their maxima to the scratch; returns whether masked ones stand as −∞. */
function scoreKeys(group: i32, allow: usize): bool {
  const flags = load<i32>(PARAMETERS, P_FLAGS)
  const headSize = load<i32>(PARAMETERS, P_HEAD_SIZE)
  const scores = load<usize>(PARAMETERS, P_SCORES)
  const largest = load<usize>(PARAMETERS, P_VECTORS)
  const query = load<usize>(PARAMETERS, P_QUERY) + <usize>group * (<usize>headSize << 5)
  const key = load<usize>(PARAMETERS, P_KEY) + (<usize>low * <usize>headSize << 2)
  const keys = high - low
  if (flags & FLAG_ROW_MAJOR_KEYS) scoreRows(query, key, scores, keys, headSize, load<i32>(PARAMETERS, P_ROWS), largest)
  else scoreGroup(query, key, scores, keys, headSize, largest)
  const general = flags & (FLAG_SOFTCAP | FLAG_BIAS | FLAG_ALIBI)
  if (general) {
    const bias = load<usize>(PARAMETERS, P_BIAS_LANES) + (<usize>low << 5)
    const position = load<i32>(PARAMETERS, P_POSITION) + (group << 3)
    transformGroup(scores, keys, flags, load<f32>(PARAMETERS, P_SCALE), load<f32>(PARAMETERS, P_SOFTCAP), bias, load<f32>(PARAMETERS, P_ALIBI_SLOPE), low, position)
  }
  const wild = general != 0 || (flags & FLAG_EXTREME_SCORES) != 0
  if (!allow && !wild) return false
  limitGroup(scores, keys, allow ? allow + <usize>low : 0, largest, wild)
  return true
}

/** Scores to weights, by the group's state; the factor for the output to the scratch. */
function softmaxKeys(group: i32, limited: bool): void {
  const scores = load<usize>(PARAMETERS, P_SCORES)
  const largest = load<usize>(PARAMETERS, P_VECTORS)
  const state = load<usize>(PARAMETERS, P_STATE) + <usize>group * STATE_BYTES
  if (load<i32>(PARAMETERS, P_FLAGS) & FLAG_STATISTICS) {
    const position = load<i32>(PARAMETERS, P_POSITION) + (group << 3)
    softmaxStatisticsGroup(scores, high - low, state, largest, largest + 32, low, load<i32>(PARAMETERS, P_BLOCK_START), position)
  } else {
    // The biases in lanes have done their part: their room is free.
    softmaxGroup(scores, high - low, state, largest, largest + 32, load<usize>(PARAMETERS, P_BIAS_LANES), limited, load<i32>(PARAMETERS, P_ROWS) > FEW_ROWS ? 32 : 16)
  }
}

/** Adds the weights' values to the output; with extreme values only where the allow bytes say so. */
function valueKeys(group: i32, allow: usize, flags: i32): void {
  const scores = load<usize>(PARAMETERS, P_SCORES)
  const valueSize = load<i32>(PARAMETERS, P_VALUE_SIZE)
  const value = load<usize>(PARAMETERS, P_VALUE)
  const output = load<usize>(PARAMETERS, P_OUTPUT) + <usize>group * (<usize>((valueSize + 3) & ~3) << 5)
  const rescale = load<usize>(PARAMETERS, P_VECTORS) + 32
  if (flags & FLAG_ROW_MAJOR_VALUES) {
    const row = value + (<usize>low * <usize>valueSize << 2)
    valueRows(scores, row, output, high - low, valueSize, load<i32>(PARAMETERS, P_ROWS), rescale)
    return
  }
  const quad = load<usize>(PARAMETERS, P_KEYS) << 4
  const first = value + (<usize>low << 4)
  if (flags & FLAG_EXTREME_VALUES) valueGroupExtreme(scores, first, quad, output, allow + <usize>low, high - low, valueSize, rescale)
  else valueGroup(scores, first, quad, output, high - low, valueSize, rescale)
}

/** 0 for keys that a query may not see: a sum that is 0 or NaN made them NaN too. */
function clearMasked(s: usize, keys: i32, allow: usize): void {
  for (let j = 0; j < keys; j++) {
    const bits = <u32>load<u8>(allow + <usize>j)
    const at = s + (<usize>j << 5)
    v128.store(at, v128.and(v128.load(at), lowLanes(bits)))
    v128.store(at, v128.and(v128.load(at, 16), highLanes(bits)), 16)
  }
}
