import { TILE } from '../constants.ts'
import { dotStageQuads, dotTileSource } from './dot-tile.wgsl.ts'
import { each, UniformLayout, type Kernel } from './kernel.ts'

/**
 * `outFirst`, `outCount`: the outputs whose weights are bound, multiples of 32 apart; `outQuads`: vectors of an output
 * row.
 */
export const linearParams = new UniformLayout({ rows: 'u32', outFirst: 'u32', outCount: 'u32', outQuads: 'u32' })

/**
 * to = from·Wᵀ + b, row by row: from [rows, inQuads], W [outCount, inQuads], b [outQuads], to [rows, outQuads], all in
 * vectors of four, padded with zeros. Dispatch: (⌈rows / 32⌉, ⌈outCount / 32⌉) workgroups of 64.
 */
export function linearKernel(inQuads: number, hasBias: boolean): Kernel {
  return {
    label: 'heddle.linear',
    key: `linear-i${inQuads}${hasBias ? '-bias' : ''}`,
    source: `${linearParams.source}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;
${hasBias ? '@group(0) @binding(4) var<storage, read> bias: array<vec4f>;' : ''}
var<workgroup> stage: array<vec4f, ${dotStageQuads(inQuads)}>;
${dotTileSource({ quads: inQuads, rows: 'input', columns: (index) => `weight[${index}]`, rowEnd: 'params.rows', columnEnd: 'params.outCount' })}
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let rowFirst = group.x * ${TILE}u;
  let dots = dotTile(local, rowFirst, group.y * ${TILE}u);
  let quad = params.outFirst / 4u + group.y * ${TILE / 4}u + local % 8u;
  if (quad >= params.outQuads || group.y * ${TILE}u + (local % 8u) * 4u >= params.outCount) { return; }
  let shift = ${hasBias ? 'bias[quad]' : 'vec4f(0)'};
${each(4, (r) => `  if (rowFirst + local / 8u * 4u + ${r}u < params.rows) { output[(rowFirst + local / 8u * 4u + ${r}u) * params.outQuads + quad] = dots.row${r} + shift; }`)}
}`,
  }
}
