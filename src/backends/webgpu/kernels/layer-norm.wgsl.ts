import { UniformLayout, type Kernel } from './kernel.ts'
import { rowMeanSource } from './row-mean.wgsl.ts'

export const layerNormParams = new UniformLayout({ epsilon: 'f32' })

/**
 * to = (from − mean) / √(variance + ε)·w + b over each row (Ba, Kiros, Hinton, 2016), b where there is one, in two
 * passes: the second one centres the row on the first one's mean and corrects it, so that rows with a large mean keep
 * their digits. from and to [rows, ⌈width / 4⌉] in vectors; the padding comes out as zeros. Dispatch: one workgroup of
 * 64 per row.
 */
export function layerNormKernel(width: number, biased: boolean): Kernel {
  const quads = Math.ceil(width / 4)
  return {
    label: 'heddle.layer-norm',
    key: `layer-norm-${width}-${biased}`,
    source: `${layerNormParams.source}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
${biased ? '@group(0) @binding(3) var<storage, read> bias: array<vec4f>;' : ''}
@group(0) @binding(4) var<storage, read_write> output: array<vec4f>;
${rowMeanSource(width)}
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let row = group.x * ${quads}u;
  var part = vec2f(0);
  for (var quad = local; quad < ${quads}u; quad += 64u) { part.x += dot(input[row + quad], real(quad)); }
  let guess = mean(local, part).x;
  part = vec2f(0);
  for (var quad = local; quad < ${quads}u; quad += 64u) {
    let centred = (input[row + quad] - guess) * real(quad);
    part += vec2f(dot(centred, real(quad)), dot(centred, centred));
  }
  let moments = mean(local, part);
  let deviation = sqrt(max(moments.y - moments.x * moments.x, 0.0) + params.epsilon);
  for (var quad = local; quad < ${quads}u; quad += 64u) {
    let centred = input[row + quad] - guess - moments.x;
    output[row + quad] = (centred / deviation * weight[quad]${biased ? ' + bias[quad]' : ''}) * real(quad);
  }
}`,
  }
}
