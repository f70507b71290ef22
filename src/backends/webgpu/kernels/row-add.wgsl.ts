import type { Kernel } from './kernel.ts'

/** to += from, [count] vectors. Dispatch: ⌈quads / 64⌉ × rows workgroups of 64. */
export function rowAddKernel(quads: number): Kernel {
  return intoKernel('add', '+=', quads)
}

/** to = to ∘ from, likewise. */
export function rowMultiplyKernel(quads: number): Kernel {
  return intoKernel('multiply', '*=', quads)
}

function intoKernel(name: string, operator: string, quads: number): Kernel {
  return {
    label: `heddle.row-${name}`,
    key: `row-${name}-${quads}`,
    source: `@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(2) var<storage, read> other: array<vec4f>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let quad = group.x * 64u + local;
  if (quad < ${quads}u) { values[group.y * ${quads}u + quad] ${operator} other[group.y * ${quads}u + quad]; }
}`,
  }
}
