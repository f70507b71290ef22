import type { Activation } from '../../../protocol/stage.ts'
import type { Kernel } from './kernel.ts'
import { tanhSource } from './tanh.wgsl.ts'

/**
 * erf by Abramowitz and Stegun 7.1.26 (|error| ≤ 1.5e-7): 1 − (a₁t + … + a₅t⁵)·e^(−x²), t = 1 / (1 + 0.3275911·x). GELU
 * takes its complement, so that a large negative x keeps its digits.
 */
const normalSource = `fn complement(x: vec4f) -> vec4f {
  let t = 1.0 / (1.0 + 0.3275911 * x);
  let series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return series * exp(-min(x * x, vec4f(87.0)));
}`

const BODIES: Readonly<Record<Activation, { readonly functions: string; readonly value: string }>> = {
  relu: { functions: '', value: 'max(x, vec4f(0))' },
  gelu: {
    functions: normalSource,
    value: 'x * select(0.5 * complement(abs(x) * 0.70710678), 1.0 - 0.5 * complement(abs(x) * 0.70710678), x > vec4f(0))',
  },
  // Half a sigmoid by the tanh, which neither overflows.
  silu: { functions: tanhSource, value: '0.5 * x * (1.0 + tanhOf(0.5 * x))' },
  'gelu-tanh': { functions: tanhSource, value: '0.5 * x * (1.0 + tanhOf(0.7978845608 * (x + 0.044715 * x * x * x)))' },
}

/** ReLU, GELU (x·Φ(x)) or its tanh form (Hendrycks, Gimpel, 2016), in place. Dispatch: ⌈quads / 64⌉ × rows workgroups of 64. */
export function activationKernel(activation: Activation, quads: number): Kernel {
  const { functions, value } = BODIES[activation]
  return {
    label: 'heddle.activation',
    key: `${activation}-${quads}`,
    source: `@group(0) @binding(1) var<storage, read_write> values: array<vec4f>;
${functions}
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let quad = group.x * 64u + local;
  if (quad >= ${quads}u) { return; }
  let x = values[group.y * ${quads}u + quad];
  values[group.y * ${quads}u + quad] = ${value};
}`,
  }
}
