/** tanh by its series below 1/2 and by exp above: WGSL's own has no stated accuracy and overflows on some hardware. */
export const tanhSource = `fn tanhOf(x: vec4f) -> vec4f {
  let size = abs(x);
  let near = clamp(x, vec4f(-0.5), vec4f(0.5));
  let square = near * near;
  let series = near * (1.0 + square * (-0.33333333333 + square * (0.13333333333 + square * (-0.053968253968
    + square * (0.021869488536 + square * (-0.0088632355299 + square * 0.0035921280366))))));
  let decay = exp(-2.0 * min(size, vec4f(20.0)));
  return select(sign(x) * (1.0 - decay) / (1.0 + decay), series, size < vec4f(0.5));
}`
