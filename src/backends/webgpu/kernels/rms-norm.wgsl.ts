import { UniformLayout, type Kernel } from './kernel.ts'
import { rowMeanSource } from './row-mean.wgsl.ts'

export const rmsNormParams = new UniformLayout({ epsilon: 'f32' })

/**
 * to = from / √(mean(from²) + ε)·w over each row (Zhang, Sennrich, 2019). from and to [rows, ⌈width / 4⌉] in vectors;
 * the padding comes out as zeros. Dispatch: one workgroup of 64 per row.
 */
export function rmsNormKernel(width: number): Kernel {
  const quads = Math.ceil(width / 4)
  return {
    label: 'heddle.rms-norm',
    key: `rms-norm-${width}`,
    source: `${rmsNormParams.source}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;
${rowMeanSource(width)}
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let row = group.x * ${quads}u;
  var squares = 0.0;
  for (var quad = local; quad < ${quads}u; quad += 64u) {
    let x = input[row + quad] * real(quad);
    squares += dot(x, x);
  }
  let size = sqrt(mean(local, vec2f(squares, 0)).x + params.epsilon);
  for (var quad = local; quad < ${quads}u; quad += 64u) {
    output[row + quad] = input[row + quad] / size * weight[quad] * real(quad);
  }
}`,
  }
}
