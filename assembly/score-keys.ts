import {
  FLAG_ALIBI, FLAG_BIAS, FLAG_EXTREME_SCORES, FLAG_EXTREME_VALUES, FLAG_ROW_MAJOR_KEYS, FLAG_SCALED, FLAG_SOFTCAP, P_ALIBI_SLOPE, P_ALLOW, P_BIAS,
  P_BIAS_LANES, P_BIAS_STRIDE, P_FLAGS, P_HEAD_SIZE, P_KEY, P_KEYS, P_POSITION, P_QUERY, P_ROWS, P_SCALE, P_SOFTCAP, P_VECTORS, PARAMETERS,
} from './abi'
import { allowGroup, high, low, seen, SOME } from './allow-group'
import { scoreRows } from './few-rows'
import { scoreFour } from './four-rows'
import { limitGroup } from './limit-group'
import { packLanes } from './pack'
import { scoreGroup } from './score-group'
import { transformGroup } from './transform-group'

/** What forward and backward share: which keys a group sees, and its scores. */

/**
 * allowGroup, after the group's biases were put in lanes.
 *
 * @param whole whether allow bytes are wanted for all keys of the block
 */
export function visibleKeys(group: i32, whole: bool): i32 {
  if (load<i32>(PARAMETERS, P_FLAGS) & FLAG_BIAS) {
    const stride = load<i32>(PARAMETERS, P_BIAS_STRIDE)
    const keys = load<i32>(PARAMETERS, P_KEYS)
    const bias = load<usize>(PARAMETERS, P_BIAS) + (<usize>(group * stride) << 5)
    packLanes(bias, stride, load<usize>(PARAMETERS, P_BIAS_LANES), min(load<i32>(PARAMETERS, P_ROWS) - (group << 3), 8), keys, keys, 1)
  }
  return allowGroup(group, whole)
}

/** The allow bytes where the group needs them, else 0. With extreme values rows past the tile's last have no bit. */
export function allowBytes(visible: i32, flags: i32): usize {
  const allow = load<usize>(PARAMETERS, P_ALLOW)
  if (!(flags & FLAG_EXTREME_VALUES)) return visible == SOME ? allow : 0
  // Where all see all, `seen` has the bits of all; where not, a row that sees no key has no bit in any byte.
  if (visible != SOME) memory.fill(allow + <usize>low, 0xff, <usize>(high - low))
  for (let j = low; j < high; j++) store<u8>(allow + <usize>j, load<u8>(allow + <usize>j) & <u8>seen)
  return allow
}

/**
 * Scores of keys [low, high), their maxima to the scratch.
 *
 * @param scores [keys][8], written from key `low` on
 * @param slopes [keys][8], written where there is a softcap: its derivative at each score; 0 where not wanted
 * @returns whether masked ones stand as −∞
 */
export function scoreKeys(group: i32, allow: usize, scores: usize, slopes: usize): bool {
  const flags = load<i32>(PARAMETERS, P_FLAGS)
  const headSize = load<i32>(PARAMETERS, P_HEAD_SIZE)
  const largest = load<usize>(PARAMETERS, P_VECTORS)
  const query = load<usize>(PARAMETERS, P_QUERY) + <usize>group * (<usize>headSize << 5)
  const key = load<usize>(PARAMETERS, P_KEY) + (<usize>low * <usize>headSize << 2)
  const keys = high - low
  const rows = load<i32>(PARAMETERS, P_ROWS)
  if (flags & FLAG_ROW_MAJOR_KEYS && rows > 2) scoreFour(query, key, scores, keys, headSize, largest)
  else if (flags & FLAG_ROW_MAJOR_KEYS) scoreRows(query, key, scores, keys, headSize, rows, largest)
  else scoreGroup(query, key, scores, keys, headSize, largest)
  const general = flags & (FLAG_SOFTCAP | FLAG_BIAS | FLAG_ALIBI | FLAG_SCALED)
  if (general) {
    const bias = load<usize>(PARAMETERS, P_BIAS_LANES) + (<usize>low << 5)
    const position = load<i32>(PARAMETERS, P_POSITION) + (group << 3)
    transformGroup(
      scores, keys, flags, load<f32>(PARAMETERS, P_SCALE), load<f32>(PARAMETERS, P_SOFTCAP), bias, load<f32>(PARAMETERS, P_ALIBI_SLOPE), low, position, slopes,
    )
  }
  const wild = general != 0 || (flags & FLAG_EXTREME_SCORES) != 0
  if (!allow && !wild) return false
  limitGroup(scores, keys, allow ? allow + <usize>low : 0, largest, wild)
  return true
}
