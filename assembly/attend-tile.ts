import {
  FEW_ROWS, FLAG_DROPOUT, FLAG_EXTREME_VALUES, FLAG_ROW_MAJOR_VALUES, FLAG_STATISTICS, P_ALLOW, P_BIAS_LANES, P_BLOCK_START, P_FLAGS,
  P_KEYS, P_OUTPUT, P_PHASE, P_POSITION, P_ROWS, P_ROWS_OUT, P_ROWS_STRIDE, P_SCORES, P_STATE, P_VALUE, P_VALUE_SIZE, P_VECTORS,
  PARAMETERS, PHASE_CHUNKED, PHASE_SCORES, PHASE_VALUES, PHASE_WEIGHTS, STATE_BYTES, STATE_SEEN,
} from './abi'
import { ALL, high, low, NONE, seen } from './allow-group'
import { dropoutGroup } from './dropout-group'
import { valueRows } from './few-rows'
import { valueFour } from './four-rows'
import { highLanes, lowLanes } from './lanes'
import { packLanes, unpackLanes } from './pack'
import { allowBytes, scoreKeys, visibleKeys } from './score-keys'
import { normaliseGroup, softmaxGroup, softmaxStatisticsGroup } from './softmax-group'
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
    const visible = visibleKeys(group, phase != PHASE_CHUNKED)
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

/** Scores, softmax and values of keys [low, high) for one group. */
function chunkedGroup(group: i32, visible: i32): void {
  const flags = load<i32>(PARAMETERS, P_FLAGS)
  const allow = allowBytes(visible, flags)
  const scores = load<usize>(PARAMETERS, P_SCORES)
  const limited = scoreKeys(group, allow, scores, 0)
  softmaxKeys(group, limited)
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
  else scoreKeys(group, allow, load<usize>(PARAMETERS, P_SCORES), 0)
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
    const rows = load<i32>(PARAMETERS, P_ROWS)
    if (rows > 2) valueFour(scores, row, output, high - low, valueSize, rescale)
    else valueRows(scores, row, output, high - low, valueSize, rows, rescale)
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
