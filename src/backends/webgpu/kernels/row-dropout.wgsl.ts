import { UniformLayout, type Kernel } from './kernel.ts'
import { philoxSource } from './philox.wgsl.ts'

export const rowDropoutParams = new UniformLayout({
  firstRow: 'u32',
  batch: 'u32',
  site: 'u32',
  threshold: 'u32',
  seedLow: 'u32',
  seedHigh: 'u32',
  keepScale: 'f32',
})

/**
 * Dropout in place: element c of a row is kept when word c mod 4 of the Philox counter (⌊c / 4⌋, row, batch, site) is ≥
 * threshold, and then scaled. Dispatch: ⌈quads / 64⌉ × rows workgroups of 64.
 */
export function rowDropoutKernel(quads: number): Kernel {
  return {
    label: 'heddle.row-dropout',
    key: `row-dropout-${quads}`,
    source: `${rowDropoutParams.source}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
${philoxSource}
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let quad = group.x * 64u + local;
  if (quad >= ${quads}u) { return; }
  let words = philox(vec4u(quad, params.firstRow + group.y, params.batch, params.site), vec2u(params.seedLow, params.seedHigh));
  values[group.y * ${quads}u + quad] *= select(vec4f(0), vec4f(params.keepScale), words >= vec4u(params.threshold));
}`,
  }
}
