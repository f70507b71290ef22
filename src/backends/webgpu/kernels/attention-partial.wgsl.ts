import { TILE } from '../constants.ts'
import { dotStageQuads } from './dot-tile.wgsl.ts'
import { each, type Kernel } from './kernel.ts'
import { attentionKeepSource, philoxSource } from './philox.wgsl.ts'
import { scoreKey, scoreTileSource, type ScoreShape } from './score-tile.wgsl.ts'

export interface PartialShape {
  readonly score: ScoreShape
  /** ⌈Dv / 4⌉ */
  readonly valueQuads: number
  readonly dropout: boolean
  /** entropy, the largest weight's key and the mean distance as well */
  readonly statistics: boolean
}

/** Value columns, in vectors, that one workgroup accumulates; a wider value is split over workgroups, which repeat the scores. */
const SLICE_QUADS = 64
/** Value columns that are staged at once. */
const CHUNK_QUADS = 16

/** Workgroups along z. */
export function valueSlices({ valueQuads }: Pick<PartialShape, 'valueQuads'>): number {
  return Math.ceil(valueQuads / SLICE_QUADS)
}

/**
 * Attention of 32 rows over one split of a pass's keys, by online softmax (Milakov, Gimelshein, 2018; FlashAttention-2):
 *
 *     m' = max(m, max_j s_j)   α = e^(m − m')   l = α·l + Σ e^(s_j − m')   O = α·O + Σ e^(s_j − m')·keep_j·V_j
 *
 * Dispatch: (⌈rows / 32⌉, splits, value slices) workgroups of 64. Writes slot + split of `partials` [slots, rows, valueQuads]
 * (unnormalised O) and of `rowStates` [slots, rows, 2]: bits of (m, l, Σ e·(s − m), Σ e·distance), (largest key, 0, 0, 0).
 * l = 0 says that no key was allowed. The sums l, T and Σ e·distance stay with each invocation's own keys until the end.
 * Workgroup memory ≤ 15.5 KiB: stage (Q and K slabs, then V) 9 KiB, probabilities 4.5 KiB, row reductions 2 KiB.
 */
export function attentionPartialKernel(shape: PartialShape): Kernel {
  const { score, valueQuads, dropout, statistics } = shape
  const quads = Math.ceil(Math.min(valueQuads, SLICE_QUADS) / 8)
  const stageQuads = Math.max(dotStageQuads(score.headQuads), TILE * Math.min(CHUNK_QUADS, quads * 8))
  const flags = [dropout ? 'dropout' : '', statistics ? 'statistics' : ''].filter((flag) => flag !== '')
  return {
    label: 'heddle.attention-partial',
    key: ['attention-partial', scoreKey(score), `v${valueQuads}`, ...flags].join('-'),
    source: `${scoreTileSource(score)}
${dropout ? philoxSource + attentionKeepSource : ''}
@group(0) @binding(6) var<storage, read> value: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> partials: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> rowStates: array<vec4u>;
var<workgroup> stage: array<vec4f, ${stageQuads}>;
var<workgroup> probabilities: array<vec4f, ${TILE * 9}>;
var<workgroup> largest: array<f32, ${TILE * 8}>;
var<workgroup> largestKey: array<i32, ${TILE * 8}>;
const LOWEST = -3.4028234e38;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let x = local % 8u;
  let y = local / 8u;
  let rowFirst = group.x * ${TILE}u;
  let rowLast = min(rowFirst + ${TILE - 1}u, params.rows - 1u);
  let splitStart = params.passStart + i32(group.y) * params.splitKeys;
  let splitEnd = min(splitStart + params.splitKeys, params.passEnd);
  let low = max(max(params.lowFirst + i32(rowFirst), params.keyMin), splitStart);
  let high = min(min(params.highFirst + i32(rowLast), params.keyMax - 1), splitEnd - 1);
${each(4, (r) => rowVariables(r, quads, statistics))}
  for (var keyFirst = splitStart + max(low - splitStart, 0) / ${TILE} * ${TILE}; keyFirst <= high; keyFirst += ${TILE}) {
    let dots = dotTile(local, rowFirst, u32(keyFirst));
    let keyOwn = keyFirst + i32(x) * 4;
${each(4, scoreRow)}
    workgroupBarrier();
${each(4, (r) => softmaxRow(r, quads, dropout, statistics))}
${valueChunks(quads, valueQuads)}
  }
${writePartials(quads, valueQuads)}
  workgroupBarrier();
${writeStates(statistics)}
}`,
  }
}

function rowVariables(r: number, quads: number, statistics: boolean): string {
  return `  let row${r} = min(rowFirst + y * 4u + ${r}u, rowLast);
  var m${r} = LOWEST;
  var l${r} = 0.0;
${statistics ? `  var t${r} = 0.0;\n  var d${r} = 0.0;\n  var best${r} = LOWEST;\n  var bestKey${r} = 0x7fffffff;` : ''}
${each(quads, (n) => `  var o${r}_${n} = vec4f(0);`)}`
}

/** The four scores of one row, and their maximum for the row's other invocations. */
function scoreRow(r: number): string {
  return `    let allowed${r} = allowedOf(row${r}, row${r}, keyOwn);
    let s${r} = scoreOf(dots.row${r}, row${r}, row${r}, keyOwn);
    let seen${r} = select(vec4f(LOWEST), s${r}, allowed${r});
    largest[(y * 4u + ${r}u) * 8u + x] = max(max(seen${r}.x, seen${r}.y), max(seen${r}.z, seen${r}.w));`
}

/** Rescales one row to the new maximum and writes its four probabilities. */
function softmaxRow(r: number, quads: number, dropout: boolean, statistics: boolean): string {
  const sums = `    let p${r} = select(vec4f(0), exp(max(s${r} - m, vec4f(-87.0))), allowed${r} & (s${r} - m > vec4f(-87.0)));
    l${r} = l${r} * scale + dot(p${r}, vec4f(1));`
  const statistic = `    t${r} = scale * (t${r} + max(m${r} - m, -1e30) * l${r});
${each(4, (k) => `    if (allowed${r}.${'xyzw'[k]} && (bestKey${r} == 0x7fffffff || s${r}.${'xyzw'[k]} > best${r})) { best${r} = s${r}.${'xyzw'[k]}; bestKey${r} = keyOwn + ${k}; }`)}
    d${r} = d${r} * scale + dot(p${r}, distanceOf(row${r}, keyOwn));
    t${r} += dot(p${r}, select(vec4f(0), s${r} - m, p${r} > vec4f(0)));`
  return `    {
    var m = m${r};
    let first = (y * 4u + ${r}u) * 8u;
    for (var other = 0u; other < 8u; other++) { m = max(m, largest[first + other]); }
    let scale = exp(max(m${r} - m, -87.0));
${statistics ? statistic.split('\n')[0] : ''}
${sums}
${statistics ? statistic.split('\n').slice(1).join('\n') : ''}
    probabilities[(${r * 8}u + y) * 9u + x] = p${r}${dropout ? ` * keepOf(row${r}, keyOwn)` : ''};
    m${r} = m;
${each(quads, (n) => `    o${r}_${n} *= scale;`)}
    }`
}

/** O += P·V, a chunk of value columns at a time through `stage`. */
function valueChunks(quads: number, valueQuads: number): string {
  const parts = CHUNK_QUADS / 8
  return each(Math.ceil(quads / parts), (chunk) => {
    const own = Math.min(parts, quads - chunk * parts)
    const width = own * 8
    return `${chunk > 0 ? '    workgroupBarrier();' : ''}
    for (var item = local; item < ${TILE * width}u; item += 64u) {
      let at = keyFirst + i32(item / ${width}u);
      let column = group.z * ${SLICE_QUADS}u + ${chunk * CHUNK_QUADS}u + item % ${width}u;
      var v = vec4f(0);
      if (column < ${valueQuads}u && at < params.passEnd) { v = value[u32(at) * ${valueQuads}u + column]; }
      stage[item] = v;
    }
    workgroupBarrier();
    for (var quad = 0u; quad < ${TILE / 4}u; quad++) {
${each(4, (r) => `      let p${r} = probabilities[(${r * 8}u + y) * 9u + quad];`)}
${each(4, (k) => each(own, (n) => `      let v${k}_${n} = stage[(quad * 4u + ${k}u) * ${width}u + ${n * 8}u + x];
${each(4, (r) => `      o${r}_${chunk * parts + n} += p${r}.${'xyzw'[k]} * v${k}_${n};`)}`))}
    }`
  })
}

function writePartials(quads: number, valueQuads: number): string {
  return each(4, (r) => `  if (rowFirst + y * 4u + ${r}u < params.rows) {
    let at = ((params.slot + group.y) * params.rows + row${r}) * ${valueQuads}u;
${each(quads, (n) => `    { let column = group.z * ${SLICE_QUADS}u + ${n * 8}u + x; if (column < ${valueQuads}u) { partials[at + column] = o${r}_${n}; } }`)}
  }`)
}

/** Adds up what the eight invocations of a row hold, in their order; the lowest key wins a tie. */
function writeStates(statistics: boolean): string {
  return `${each(4, (r) => `  stage[(y * 4u + ${r}u) * 8u + x] = vec4f(l${r}, ${statistics ? `t${r}, d${r}` : '0, 0'}, 0);
  largestKey[(y * 4u + ${r}u) * 8u + x] = ${statistics ? `select(0x7fffffff, bestKey${r}, best${r} == m${r})` : '0'};`)}
  workgroupBarrier();
${each(4, (r) => `  if (x == 0u && group.z == 0u && rowFirst + y * 4u + ${r}u < params.rows) {
    var sums = vec4f(0);
    var lowestKey = 0x7fffffff;
    for (var other = 0u; other < 8u; other++) {
      sums += stage[(y * 4u + ${r}u) * 8u + other];
      lowestKey = min(lowestKey, largestKey[(y * 4u + ${r}u) * 8u + other]);
    }
    let at = ((params.slot + group.y) * params.rows + row${r}) * 2u;
    rowStates[at] = bitcast<vec4u>(vec4f(m${r}, sums.x, sums.y, sums.z));
    rowStates[at + 1u] = vec4u(u32(lowestKey) + params.segmentStart, 0u, 0u, 0u);
  }`)}`
}
