import type { Activation } from '../../../protocol/stage.ts'
import type { Kernel } from './kernel.ts'
import { tanhSource } from './tanh.wgsl.ts'

/**
 * x·Φ(x) = max(x, 0) − w(|x|), w(z) = z·½erfc(z/√2) = z·(P(z)/Q(z))·e^(−z²/2), as in assembly/row-activation.ts, which
 * says where P and Q come from. Past 13.19 w is below the smallest normal number. z² is taken apart so that the last
 * bits of z²/2 are not lost, which would be the first ones of its power.
 */
const geluSource = `fn geluOf(x: vec4f) -> vec4f {
  let z = min(abs(x), vec4f(13.19));
  let high = bitcast<vec4f>(bitcast<vec4u>(z) & vec4u(0xfffff000u));
  let p = 0.5 + z * (0.43545327 + z * (0.18113504 + z * (0.039926521 + z * 0.0040116874)));
  let q = 1.0 + z * (1.6687914 + z * (1.1937689 + z * (0.46392715 + z * (0.10008842 + z * 0.010055664))));
  let w = z * (p / q) * exp(-0.5 * high * high) * exp(-0.5 * (z - high) * (z + high));
  return max(x, vec4f(0)) - select(vec4f(0), w, z < vec4f(13.19));
}`

/**
 * ½·x·(1 + tanh y) = max(x, 0) − |x|·h²/(1 + h²), h = e^(−|y|), y = √(2/π)·(x + 0.044715·x³); past 11 that is max(x,
 * 0).
 */
const geluTanhSource = `fn geluTanhOf(x: vec4f) -> vec4f {
  let z = min(abs(x), vec4f(11));
  let h = exp(-0.7978845608 * (z + 0.044715 * z * z * z));
  return max(x, vec4f(0)) - z * h * h / (1.0 + h * h);
}`

/**
 * x/(1 + e^(−x)) = max(x, 0) − |x|·h²/(1 + h²), h = e^(−|x|/2), which loses no digits below 0. |x|·h is taken first: h²
 * is below the smallest normal number where |x|·h² is not. Past 110 both are.
 */
const siluSource = `fn siluOf(x: vec4f) -> vec4f {
  let z = abs(x);
  let h = exp(-0.5 * min(z, vec4f(110)));
  return max(x, vec4f(0)) - select(vec4f(0), z * h / (1.0 + h * h) * h, z < vec4f(110));
}`

const BODIES: Readonly<Record<Activation, { readonly functions: string; readonly value: string }>> = {
  relu: { functions: '', value: 'max(x, vec4f(0))' },
  gelu: { functions: geluSource, value: 'geluOf(x)' },
  'gelu-tanh': { functions: geluTanhSource, value: 'geluTanhOf(x)' },
  silu: { functions: siluSource, value: 'siluOf(x)' },
  tanh: { functions: tanhSource, value: 'tanhOf(x)' },
}

/**
 * ReLU, GELU (x·Φ(x)) or its tanh form (Hendrycks, Gimpel, 2016), SiLU, or tanh, in place. Dispatch: ⌈quads / 64⌉ ×
 * rows workgroups of 64.
 */
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
