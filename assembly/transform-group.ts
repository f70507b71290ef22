import { FLAG_ALIBI, FLAG_BIAS, FLAG_SOFTCAP } from './abi'
import { tanhVector } from './tanh'

/**
 * s = softcap·tanh(scale·s/softcap) + bias − slope·|position − j| in place, each part where its flag is set.
 *
 * @param s products [keys][8]
 * @param bias in lanes [keys][8]
 * @param firstKey of `s`, counted from the block's start
 * @param position i + queryOffset of the group's first row, less the block's start
 * @param slopes [keys][8], written: 1 − tanh², where there is a softcap; or 0
 */
export function transformGroup(
  s: usize, keys: i32, flags: i32, scale: f32, softcap: f32, bias: usize, slope: f32, firstKey: i32, position: i32, slopes: usize,
): void {
  const cap = f32x4.splat(softcap)
  const alibi = f32x4.splat(slope)
  const scales = f32x4.splat(scale)
  for (let half: usize = 0; half < 32; half += 16) {
    const away = i32x4.add(i32x4.splat(position + <i32>(half >> 2)), i32x4(0, 1, 2, 3))
    for (let j = 0; j < keys; j++) {
      const at = half + (<usize>j << 5)
      let x = f32x4.mul(v128.load(s + at), scales)
      if (flags & FLAG_SOFTCAP) {
        const bent = tanhVector(f32x4.div(x, cap))
        if (slopes) v128.store(slopes + at, f32x4.sub(f32x4.splat(1), f32x4.mul(bent, bent)))
        x = f32x4.mul(cap, bent)
      }
      if (flags & FLAG_BIAS) x = f32x4.add(x, v128.load(bias + at))
      if (flags & FLAG_ALIBI) {
        const steps = i32x4.abs(i32x4.sub(away, i32x4.splat(firstKey + j)))
        x = f32x4.sub(x, f32x4.mul(alibi, f32x4.convert_i32x4_s(steps)))
      }
      v128.store(s + at, x)
    }
  }
}
