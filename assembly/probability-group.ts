import { P_FACTOR, P_FLOOR, PARAMETERS } from './abi'
import { powers } from './softmax-group'

/**
 * P = 2^(factor·(s − L)) in place of s: the softmax again, from the row's log-sum-exp.
 *
 * @param s scores [keys][8]; −∞ becomes 0 where `infinities`
 * @param logSumExp f32 [8], in units of score; NaN makes the row NaN
 * @param spare scratch, f32 [keys][4]
 */
export function probabilityGroup(s: usize, keys: i32, logSumExp: usize, spare: usize, infinities: bool): void {
  const factor = v128.load32_splat(PARAMETERS, P_FACTOR), floor = v128.load32_splat(PARAMETERS, P_FLOOR)
  for (let half: usize = 0; half < 32; half += 16) {
    const top = v128.load(logSumExp + half)
    if (infinities) powers(s + half, keys, top, factor, floor, spare, true)
    else powers(s + half, keys, top, factor, floor, spare, false)
  }
}
