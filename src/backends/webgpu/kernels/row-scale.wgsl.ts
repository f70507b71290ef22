import { UniformLayout, type Kernel } from './kernel.ts'

export const rowScaleParams = new UniformLayout({ factor: 'f32' })

/** x = factor·x, in place. Dispatch: ⌈quads / 64⌉ × rows workgroups of 64. */
export function rowScaleKernel(quads: number): Kernel {
  return {
    label: 'heddle.row-scale',
    key: `row-scale-${quads}`,
    source: `${rowScaleParams.source}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let quad = group.x * 64u + local;
  if (quad < ${quads}u) { values[group.y * ${quads}u + quad] *= params.factor; }
}`,
  }
}
