import { roundUp } from '../../../core/integers.ts'
import type { Kernel } from './kernel.ts'

/**
 * Rotary positions in place (Su et al., 2021): the pair (x_c, x_{c + R/2}) of every head turns by the row's angle,
 * whose cosines stand in columns [0, R/2) and sines in [R/2, R) of `table` [rows, ⌈R / 4⌉·4]; elements from R on stay.
 * Dispatch: ⌈pairs of a row / 64⌉ × rows workgroups of 64.
 */
export function rotaryKernel(width: number, headSize: number, turned: number): Kernel {
  const half = turned / 2
  const stride = roundUp(width, 4)
  return {
    label: 'heddle.rotary',
    key: `rotary-${width}-${headSize}-${turned}`,
    source: `@group(0) @binding(1) var<storage, read_write> values: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<f32>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let pair = group.x * 64u + local;
  if (pair >= ${(width / headSize) * half}u) { return; }
  let c = pair % ${half}u;
  let first = group.y * ${stride}u + pair / ${half}u * ${headSize}u + c;
  let angle = group.y * ${roundUp(turned, 4)}u + c;
  let x = values[first];
  let y = values[first + ${half}u];
  values[first] = x * table[angle] - y * table[angle + ${half}u];
  values[first + ${half}u] = y * table[angle] + x * table[angle + ${half}u];
}`,
  }
}
