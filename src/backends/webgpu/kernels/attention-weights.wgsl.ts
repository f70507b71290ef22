import { TILE } from '../constants.ts'
import { dotStageQuads } from './dot-tile.wgsl.ts'
import { each, type Kernel } from './kernel.ts'
import { scoreKey, scoreTileSource, type ScoreShape } from './score-tile.wgsl.ts'

/**
 * The weights e^(s − m) / l of chosen rows over one pass's keys, before dropout; 0 where a key is not allowed.
 * `rowPlaces[r]` is packed row r's place in the task, where its (m, l) stand in slot 0 of `rowStates`.
 * Dispatch: (⌈rows / 32⌉, ⌈pass keys / 32⌉) workgroups of 64. `weights` is [rows, ⌈pass keys / 4⌉] vectors.
 */
export function attentionWeightsKernel(score: ScoreShape): Kernel {
  return {
    label: 'heddle.attention-weights',
    key: `attention-weights-${scoreKey(score)}`,
    source: `${scoreTileSource(score)}
@group(0) @binding(6) var<storage, read> rowPlaces: array<u32>;
@group(0) @binding(7) var<storage, read> rowStates: array<vec4u>;
@group(0) @binding(8) var<storage, read_write> weights: array<vec4f>;
var<workgroup> stage: array<vec4f, ${dotStageQuads(score.headQuads)}>;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let rowFirst = group.x * ${TILE}u;
  let keyFirst = u32(params.passStart) + group.y * ${TILE}u;
  let dots = dotTile(local, rowFirst, keyFirst);
  let keyOwn = i32(keyFirst + (local % 8u) * 4u);
  let quads = (u32(params.passEnd - params.passStart) + 3u) / 4u;
  let column = u32(keyOwn - params.passStart) / 4u;
  if (column >= quads) { return; }
${each(4, (r) => `  writeRow(rowFirst + (local / 8u) * 4u + ${r}u, dots.row${r}, keyOwn, quads, column);`)}
}
fn writeRow(row: u32, dots: vec4f, keyOwn: i32, quads: u32, column: u32) {
  if (row >= params.rows) { return; }
  let place = rowPlaces[row];
  let state = bitcast<vec4f>(rowStates[place * 2u]);
  let allowed = allowedOf(row, place, keyOwn);
  let score = scoreOf(dots, row, place, keyOwn) - state.x;
  let weight = exp(max(score, vec4f(-87.0))) / max(state.y, 1.0);
  weights[row * quads + column] = select(vec4f(0), weight, allowed & (score > vec4f(-87.0)));
}`,
  }
}
