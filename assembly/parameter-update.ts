/**
 * Optimizer steps over `count` elements of a parameter. Results may stand in the places that were read, or beside them, where
 * a step that is run twice starts from the same numbers again. No multiply-add is fused, in either binary: a resumed run on
 * another machine has the same bits. The order of operations is PyTorch's (1.13, one tensor at a time).
 */

/**
 * Adam (Kingma and Ba 2015) and AdamW (Loshchilov and Hutter 2019). With d = g + weightDecay·p:
 * mOut = beta1·m + beta1Rest·d; vOut = beta2·v + (beta2Rest·d)·d;
 * pOut = shrink·p − (stepSize·mOut)/(√vOut/correction + epsilon).
 * Factors are computed in float64 and rounded to float32 once; t is the step, counted from 1.
 *
 * @param p [count], g, m and v alike; m and v are 0 before the first step
 * @param pOut [count], mOut and vOut alike; each may be what it replaces
 * @param shrink AdamW: 1 − learningRate·weightDecay; Adam: 1
 * @param weightDecay Adam's, which is added to the gradient; AdamW: 0
 * @param beta1Rest 1 − beta1, not of the rounded beta1
 * @param beta2Rest 1 − beta2
 * @param stepSize learningRate/(1 − beta1ᵗ)
 * @param correction √(1 − beta2ᵗ)
 */
export function adamUpdate(
  count: i32, p: usize, g: usize, m: usize, v: usize, pOut: usize, mOut: usize, vOut: usize,
  shrink: f32, weightDecay: f32, beta1: f32, beta1Rest: f32, beta2: f32, beta2Rest: f32, stepSize: f32, correction: f32, epsilon: f32,
): void {
  const bytes = <usize>count << 2
  let at: usize = 0
  for (const fours = bytes & ~15; at < fours; at += 16) {
    const parameter = v128.load(p + at)
    const d = scaledSum(v128.load(g + at), weightDecay, parameter)
    const first = average(v128.load(m + at), beta1, beta1Rest, d)
    const second = f32x4.add(f32x4.mul(v128.load(v + at), f32x4.splat(beta2)), f32x4.mul(f32x4.mul(f32x4.splat(beta2Rest), d), d))
    v128.store(mOut + at, first)
    v128.store(vOut + at, second)
    v128.store(pOut + at, f32x4.sub(f32x4.mul(parameter, f32x4.splat(shrink)), adamStep(first, second, stepSize, correction, epsilon)))
  }
  for (; at < bytes; at += 4) {
    const parameter = v128.load32_zero(p + at)
    const d = scaledSum(v128.load32_zero(g + at), weightDecay, parameter)
    const first = average(v128.load32_zero(m + at), beta1, beta1Rest, d)
    const second = f32x4.add(f32x4.mul(v128.load32_zero(v + at), f32x4.splat(beta2)), f32x4.mul(f32x4.mul(f32x4.splat(beta2Rest), d), d))
    v128.store_lane<f32>(mOut + at, first, 0)
    v128.store_lane<f32>(vOut + at, second, 0)
    v128.store_lane<f32>(pOut + at, f32x4.sub(f32x4.mul(parameter, f32x4.splat(shrink)), adamStep(first, second, stepSize, correction, epsilon)), 0)
  }
}

/**
 * Stochastic gradient descent with momentum (Sutskever et al. 2013, as PyTorch defines it). With d = g + weightDecay·p:
 * bOut = momentum·b + undamped·d, or d in the first step; pOut = p − rate·u, where u is bOut, or d + momentum·bOut with
 * `nesterov`, or d without momentum (then b and bOut are not touched).
 *
 * @param p [count], g and b alike
 * @param pOut [count], bOut alike; each may be what it replaces
 * @param undamped 1 − dampening
 * @param first whether there is no b yet; it is not read then
 */
export function sgdUpdate(
  count: i32, p: usize, g: usize, b: usize, pOut: usize, bOut: usize,
  rate: f32, momentum: f32, undamped: f32, weightDecay: f32, nesterov: bool, first: bool,
): void {
  const bytes = <usize>count << 2
  const fours = bytes & ~15
  let at: usize = 0
  if (momentum == 0) {
    for (; at < fours; at += 16) {
      const parameter = v128.load(p + at)
      v128.store(pOut + at, scaledSum(parameter, -rate, scaledSum(v128.load(g + at), weightDecay, parameter)))
    }
    for (; at < bytes; at += 4) {
      const parameter = v128.load32_zero(p + at)
      v128.store_lane<f32>(pOut + at, scaledSum(parameter, -rate, scaledSum(v128.load32_zero(g + at), weightDecay, parameter)), 0)
    }
    return
  }
  for (; at < fours; at += 16) {
    const parameter = v128.load(p + at)
    const d = scaledSum(v128.load(g + at), weightDecay, parameter)
    const buffer = first ? d : average(v128.load(b + at), momentum, undamped, d)
    v128.store(bOut + at, buffer)
    v128.store(pOut + at, scaledSum(parameter, -rate, nesterov ? scaledSum(d, momentum, buffer) : buffer))
  }
  for (; at < bytes; at += 4) {
    const parameter = v128.load32_zero(p + at)
    const d = scaledSum(v128.load32_zero(g + at), weightDecay, parameter)
    const buffer = first ? d : average(v128.load32_zero(b + at), momentum, undamped, d)
    v128.store_lane<f32>(bOut + at, buffer, 0)
    v128.store_lane<f32>(pOut + at, scaledSum(parameter, -rate, nesterov ? scaledSum(d, momentum, buffer) : buffer), 0)
  }
}

/** x + factor·y, two roundings */
// @ts-ignore: decorator
@inline
function scaledSum(x: v128, factor: f32, y: v128): v128 {
  return f32x4.add(x, f32x4.mul(f32x4.splat(factor), y))
}

/** keep·x + take·y, three roundings */
// @ts-ignore: decorator
@inline
function average(x: v128, keep: f32, take: f32, y: v128): v128 {
  return f32x4.add(f32x4.mul(x, f32x4.splat(keep)), f32x4.mul(f32x4.splat(take), y))
}

/** (stepSize·m)/(√v/correction + epsilon) */
// @ts-ignore: decorator
@inline
function adamStep(m: v128, v: v128, stepSize: f32, correction: f32, epsilon: f32): v128 {
  const below = f32x4.add(f32x4.div(f32x4.sqrt(v), f32x4.splat(correction)), f32x4.splat(epsilon))
  return f32x4.div(f32x4.mul(f32x4.splat(stepSize), m), below)
}
