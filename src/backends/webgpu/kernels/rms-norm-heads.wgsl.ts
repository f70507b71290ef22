import { roundUp } from '../../../core/integers.ts'
import type { Kernel } from './kernel.ts'
import { rmsNormParams } from './rms-norm.wgsl.ts'
import { rowMeanSource } from './row-mean.wgsl.ts'

/**
 * to = from / √(mean(from²) + ε)·w over each head of a row, by one weight [D] for all heads, or none. from and to
 * [rows, ⌈width / 4⌉·4]; the padding comes out as zeros. Dispatch: rows × heads workgroups of 64.
 */
export function rmsNormHeadsKernel(width: number, headSize: number, weighted: boolean): Kernel {
  const stride = roundUp(width, 4)
  return {
    label: 'heddle.rms-norm-heads',
    key: `rms-norm-heads-${width}-${headSize}-${weighted}`,
    source: `${rmsNormParams.source}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<f32>;
${weighted ? '@group(0) @binding(2) var<storage, read> weight: array<f32>;' : ''}
@group(0) @binding(3) var<storage, read_write> output: array<f32>;
${rowMeanSource(headSize)}
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let first = group.x * ${stride}u + group.y * ${headSize}u;
  var squares = 0.0;
  for (var c = local; c < ${headSize}u; c += 64u) {
    squares += input[first + c] * input[first + c];
  }
  let size = sqrt(mean(local, vec2f(squares, 0)).x + params.epsilon);
  for (var c = local; c < ${headSize}u; c += 64u) {
    output[first + c] = input[first + c] / size${weighted ? ' * weight[c]' : ''};
  }
  if (group.y == 0u && local < ${stride - width}u) { output[group.x * ${stride}u + ${width}u + local] = 0.0; }
}`,
  }
}
