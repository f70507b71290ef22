import { UniformLayout, type Kernel } from './kernel.ts'

export const mergeParams = new UniformLayout({ rows: 'u32', slots: 'u32', last: 'u32', statistics: 'u32' })

/** Rows of one workgroup: 16 invocations each, over the value's columns. */
const ROWS = 4

export function mergeGroups(rows: number): number {
  return Math.ceil(rows / ROWS)
}

/**
 * Merges the partials of slots 0 … slots − 1, which lie in key order, into slot 0 without approximation up to rounding:
 *
 *     m = max m_s   l = Σ e^(m_s − m)·l_s   O = Σ e^(m_s − m)·O_s
 *
 * and, when `last`, writes O / l to `output` [rows, valueQuads] and the bits of the row results (`ROW_RESULT_NAMES`) to
 * `rowResults` [5, rows]: log-sum-exp m + ln l, entropy ln l − T / l with T = Σ e^(s − m)·(s − m), largest weight 1 /
 * l, its key, mean distance. A row with l = 0 had no allowed key: 0, and −∞ for its log-sum-exp. Dispatch:
 * mergeGroups(rows) workgroups. One workgroup owns a row, so that slot 0 is read before it is written.
 */
export function attentionMergeKernel(valueQuads: number): Kernel {
  return {
    label: 'heddle.attention-merge',
    key: `attention-merge-v${valueQuads}`,
    source: `${mergeParams.source}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> partials: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> rowStates: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> rowResults: array<u32>;
const NO_KEY = 0xffffffffu;
@compute @workgroup_size(${ROWS * 16})
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let row = group.x * ${ROWS}u + local / 16u;
  let inside = row < params.rows;
  var m = -3.4028234e38;
  var sums = vec3f(0);
  var largestKey = NO_KEY;
  for (var slot = 0u; slot < params.slots && inside; slot++) {
    let at = (slot * params.rows + row) * 2u;
    let state = bitcast<vec4f>(rowStates[at]);
    if (state.y == 0.0) { continue; }
    let next = max(m, state.x);
    let oldScale = exp(max(m - next, -87.0));
    let newScale = exp(max(state.x - next, -87.0));
    if (largestKey == NO_KEY || state.x > m) { largestKey = rowStates[at + 1u].x; }
    let shiftedOld = sums.y + max(m - next, -1e30) * sums.x;
    let shiftedNew = state.z + max(state.x - next, -1e30) * state.y;
    sums = oldScale * vec3f(sums.x, shiftedOld, sums.z) + newScale * vec3f(state.y, shiftedNew, state.w);
    m = next;
  }
  let scale = select(1.0, select(0.0, 1.0 / sums.x, sums.x > 0.0), params.last == 1u);
  for (var column = local % 16u; column < ${valueQuads}u && inside; column += 16u) {
    var merged = vec4f(0);
    for (var slot = 0u; slot < params.slots; slot++) {
      let state = bitcast<vec4f>(rowStates[(slot * params.rows + row) * 2u]);
      if (state.y > 0.0) { merged += exp(max(state.x - m, -87.0)) * partials[(slot * params.rows + row) * ${valueQuads}u + column]; }
    }
    if (params.last == 1u) { output[row * ${valueQuads}u + column] = merged * scale; }
    else { partials[row * ${valueQuads}u + column] = merged; }
  }
  storageBarrier();
  if (inside && local % 16u == 0u) {
    rowStates[row * 2u] = bitcast<vec4u>(vec4f(m, sums));
    rowStates[row * 2u + 1u] = vec4u(largestKey, 0u, 0u, 0u);
    if (params.last == 1u) { writeRow(row, m, sums, largestKey); }
  }
}
fn writeRow(row: u32, m: f32, sums: vec3f, largestKey: u32) {
  let some = sums.x > 0.0;
  let logSum = log(select(1.0, sums.x, some));
  rowResults[row] = select(0xff800000u, bitcast<u32>(m + logSum), some);
  if (params.statistics == 0u) { return; }
  let part = select(0.0, 1.0 / sums.x, some);
  rowResults[params.rows + row] = bitcast<u32>(max(logSum - sums.y * part, 0.0));
  rowResults[2u * params.rows + row] = bitcast<u32>(part);
  rowResults[3u * params.rows + row] = select(NO_KEY, largestKey, some);
  rowResults[4u * params.rows + row] = bitcast<u32>(sums.z * part);
}`,
  }
}
