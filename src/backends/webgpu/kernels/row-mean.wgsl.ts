/**
 * WGSL for a workgroup of 64 that goes over a row of `width` elements in ⌈width / 4⌉ vectors. `mean` is the sum of all
 * invocations' parts divided by the width; all of them must call it. `real` is 1 where a vector's element is in the row
 * and 0 in the padding.
 */
export function rowMeanSource(width: number): string {
  return `var<workgroup> sums: array<vec2f, 64>;
fn mean(local: u32, part: vec2f) -> vec2f {
  workgroupBarrier();
  sums[local] = part;
  workgroupBarrier();
  var sum = vec2f(0);
  for (var other = 0u; other < 64u; other++) { sum += sums[other]; }
  return sum / ${width}.0;
}
fn real(quad: u32) -> vec4f {
  return select(vec4f(0), vec4f(1), vec4u(quad * 4u) + vec4u(0, 1, 2, 3) < vec4u(${width}u));
}`
}
