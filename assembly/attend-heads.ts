import {
  FLAG_EXTREME_SCORES, FLAG_EXTREME_VALUES, P_BATCH_HEAD, P_FLAGS, P_HEAD_SIZE, P_KEY, P_KEYS, P_OUTPUT, P_QUERY, P_ROWS, P_STATE, P_VALUE,
  P_VALUE_SIZE, PARAMETERS, STATE_BYTES,
} from './abi'
import { attendTile } from './attend-tile'
import { finaliseGroups, hasExtremes, packKeys, packLanes, packValues, resetGroups } from './pack'

/**
 * Attention of several heads of one tile of queries and one block of keys each: for each what the engine does around
 * `attendTile`, in the same order, so that a head's bits are the same.
 *
 * The parameter block is that of `attendTile` in its chunked phase, where P_QUERY, P_KEY, P_VALUE and P_OUTPUT have room for one
 * head, and P_STATE for the states of all of them, which stay there: [heads][⌈rows / 8⌉]. It sees no mask, bias or segments.
 * P_FLAGS, P_STATE and P_BATCH_HEAD are left as the last head had them.
 *
 * @param flags FLAG_… of the task
 * @param q queries [heads][rows][D], k keys [heads][keys][D], v values [heads][keys][Dv], row-major
 * @param to outputs [heads][rows][Dv], written, with room for 7 rows more
 * @param sign of the queries, as the engine packs them
 * @param keepScale 1/(1 − p)
 * @returns how many heads saw a key
 */
export function attendHeads(heads: i32, flags: i32, q: usize, k: usize, v: usize, to: usize, sign: f32, keepScale: f32): i32 {
  const rows = load<i32>(PARAMETERS, P_ROWS), keys = load<i32>(PARAMETERS, P_KEYS)
  const headSize = load<i32>(PARAMETERS, P_HEAD_SIZE), valueSize = load<i32>(PARAMETERS, P_VALUE_SIZE)
  const query = load<usize>(PARAMETERS, P_QUERY), output = load<usize>(PARAMETERS, P_OUTPUT)
  const groups = (rows + 7) >> 3
  const batchHead = load<i32>(PARAMETERS, P_BATCH_HEAD)
  let state = load<usize>(PARAMETERS, P_STATE)
  let active = 0
  for (let head = 0; head < heads; head++) {
    resetGroups(state, output, groups, valueSize)
    packLanes(q, headSize, query, rows, headSize, headSize, sign)
    let own = flags
    if (hasExtremes(query, (groups << 3) * headSize) || hasExtremes(k, keys * headSize)) own |= FLAG_EXTREME_SCORES
    if (hasExtremes(v, keys * valueSize)) own |= FLAG_EXTREME_VALUES
    packKeys(k, load<usize>(PARAMETERS, P_KEY), keys, headSize)
    packValues(v, load<usize>(PARAMETERS, P_VALUE), keys, valueSize)
    store<i32>(PARAMETERS, own, P_FLAGS)
    store<usize>(PARAMETERS, state, P_STATE)
    store<i32>(PARAMETERS, batchHead + head, P_BATCH_HEAD)
    if (attendTile() > 0) active++
    finaliseGroups(output, state, to, groups, valueSize, keepScale, true)
    q += <usize>(rows * headSize) << 2
    k += <usize>(keys * headSize) << 2
    v += <usize>(keys * valueSize) << 2
    to += <usize>(rows * valueSize) << 2
    state += <usize>groups * STATE_BYTES
  }
  return active
}
