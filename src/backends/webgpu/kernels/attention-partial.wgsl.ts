import { GPU_SLICE_QUADS as SLICE_QUADS } from '../../../plan/gpu-memory.ts'
import { TILE } from '../constants.ts'
import { dotStageQuads, type RowsEach } from './dot-tile.wgsl.ts'
import { each, type Kernel } from './kernel.ts'
import { attentionKeepSource, philoxSource } from './philox.wgsl.ts'
import { loaded, scoreKey, scoreTileSource, storedType, type ScoreShape } from './score-tile.wgsl.ts'

export interface PartialShape {
  readonly score: ScoreShape
  /** ⌈Dv / 4⌉ */
  readonly valueQuads: number
  readonly dropout: boolean
  /** entropy, the largest weight's key and the mean distance as well */
  readonly statistics: boolean
  /** values stand as float16, two in a word */
  readonly halfValues: boolean
  readonly tile: PartialTile
}

/** How a workgroup of 64 invocations works: the same sums, cut in another way. */
export interface PartialTile {
  /** query rows of an invocation; a workgroup has eight times as many */
  readonly rowsEach: RowsEach
  /** neighbouring invocations that are sure to be in one subgroup: 1 (no use of subgroups), 2, 4 or 8, a row's own */
  readonly together: 1 | 2 | 4 | 8
}

export const BASE_TILE: PartialTile = { rowsEach: 4, together: 1 }

/** Value columns that are staged at once. */
const CHUNK_QUADS = 16

/** Vectors of a value row that an invocation accumulates, for each of its rows. */
export function ownQuads(valueQuads: number): number {
  return Math.ceil(Math.min(valueQuads, SLICE_QUADS) / 8)
}

/** Bytes of workgroup memory: the stage (Q and K slabs, then V), probabilities, and the rows' maxima. */
export function partialWorkgroupBytes({
  score,
  valueQuads,
  tile,
}: Pick<PartialShape, 'score' | 'valueQuads' | 'tile'>): number {
  return stageQuadsOf(score.headQuads, valueQuads, tile.rowsEach) * 16 + 8 * tile.rowsEach * (9 * 16 + 8 * 4)
}

function stageQuadsOf(headQuads: number, valueQuads: number, rowsEach: RowsEach): number {
  // At the end it holds a vector of sums for each invocation's each row.
  return Math.max(
    dotStageQuads(headQuads, rowsEach),
    TILE * Math.min(CHUNK_QUADS, ownQuads(valueQuads) * 8),
    64 * rowsEach,
  )
}

/** Workgroups along z. */
export function valueSlices({ valueQuads }: Pick<PartialShape, 'valueQuads'>): number {
  return Math.ceil(valueQuads / SLICE_QUADS)
}

/**
 * Attention of 8R rows over one split of a pass's keys, by online softmax (Milakov, Gimelshein, 2018;
 * FlashAttention-2):
 *
 *     m' = max(m, max_j s_j)   α = e^(m − m')   l = α·l + Σ e^(s_j − m')   O = α·O + Σ e^(s_j − m')·keep_j·V_j
 *
 * Dispatch: (⌈rows / 8R⌉, splits, value slices) workgroups of 64. Writes slot + split of `partials` [slots, rows,
 * valueQuads] (unnormalised O) and of `rowStates` [slots, rows, 2]: bits of (m, l, Σ e·(s − m), Σ e·distance), (largest
 * key, 0, 0, 0). l = 0 says that no key was allowed. The sums l, T and Σ e·distance stay with each invocation's own
 * keys until the end. Workgroup memory: 14.5 KiB with R = 4, 24.5 KiB with R = 8 (`partialWorkgroupBytes`).
 */
export function attentionPartialKernel(shape: PartialShape): Kernel {
  const { score, valueQuads, dropout, statistics, halfValues, tile } = shape
  const { rowsEach, together } = tile
  const quads = ownQuads(valueQuads)
  const flags = [dropout ? 'dropout' : '', statistics ? 'statistics' : '', halfValues ? 'halfValues' : ''].filter(
    (flag) => flag !== '',
  )
  return {
    label: 'heddle.attention-partial',
    key: ['attention-partial', `r${rowsEach}`, `t${together}`, scoreKey(score), `v${valueQuads}`, ...flags].join('-'),
    source: `${together > 1 ? 'enable subgroups;\n' : ''}${scoreTileSource(score, rowsEach)}
${dropout ? philoxSource + attentionKeepSource : ''}
@group(0) @binding(6) var<storage, read> value: array<${storedType(halfValues)}>;
@group(0) @binding(7) var<storage, read_write> partials: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> rowStates: array<vec4u>;
var<workgroup> stage: array<vec4f, ${stageQuadsOf(score.headQuads, valueQuads, rowsEach)}>;
var<workgroup> probabilities: array<vec4f, ${8 * rowsEach * 9}>;
// bits of the rows' maxima; at the end the keys of the largest
var<workgroup> largest: array<i32, ${8 * rowsEach * 8}>;
const LOWEST = -3.4028234e38;
@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) local: u32, @builtin(workgroup_id) group: vec3u) {
  let x = local % 8u;
  let y = local / 8u;
  let rowFirst = group.x * ${8 * rowsEach}u;
  let rowLast = min(rowFirst + ${8 * rowsEach - 1}u, params.rows - 1u);
  let splitStart = params.passStart + i32(group.y) * params.splitKeys;
  let splitEnd = min(splitStart + params.splitKeys, params.passEnd);
  let low = max(max(params.lowFirst + i32(rowFirst), params.keyMin), splitStart);
  let high = min(min(params.highFirst + i32(rowLast), params.keyMax - 1), splitEnd - 1);
${each(rowsEach, (r) => rowVariables(r, quads, shape))}
  for (var keyFirst = splitStart + max(low - splitStart, 0) / ${TILE} * ${TILE}; keyFirst <= high; keyFirst += ${TILE}) {
    let dots = dotTile(local, rowFirst, u32(keyFirst));
    let keyOwn = keyFirst + i32(x) * 4;
${each(rowsEach, (r) => scoreRow(r, tile))}
    workgroupBarrier();
${each(rowsEach, (r) => softmaxRow(r, quads, shape))}
${valueChunks(quads, shape)}
  }
${writePartials(quads, shape)}
  workgroupBarrier();
${writeStates(shape)}
}`,
  }
}

function rowVariables(r: number, quads: number, { statistics, tile }: PartialShape): string {
  return `  let row${r} = min(rowFirst + y * ${tile.rowsEach}u + ${r}u, rowLast);
  var m${r} = LOWEST;
  var l${r} = 0.0;
${statistics ? `  var t${r} = 0.0;\n  var d${r} = 0.0;\n  var best${r} = LOWEST;\n  var bestKey${r} = 0x7fffffff;` : ''}
${each(quads, (n) => `  var o${r}_${n} = vec4f(0);`)}`
}

/**
 * The four scores of one row, and their maximum for the row's other invocations: as far as they reach through the
 * subgroup.
 */
function scoreRow(r: number, { rowsEach, together }: PartialTile): string {
  const steps = [1, 2, 4].filter((step) => step < together)
  const write = `largest[(y * ${rowsEach}u + ${r}u) * 8u + x${together > 1 ? ` / ${together}u` : ''}] = bitcast<i32>(most${r});`
  return `    let allowed${r} = allowedOf(row${r}, row${r}, keyOwn);
    let s${r} = scoreOf(dots.row${r}, row${r}, row${r}, keyOwn);
    let seen${r} = select(vec4f(LOWEST), s${r}, allowed${r});
    var most${r} = max(max(seen${r}.x, seen${r}.y), max(seen${r}.z, seen${r}.w));
${steps.map((step) => `    most${r} = max(most${r}, subgroupShuffleXor(most${r}, ${step}u));`).join('\n')}
    ${together === 8 ? '' : together === 1 ? write : `if (x % ${together}u == 0u) { ${write} }`}`
}

/** The maximum of all of a row's scores so far. */
function largestOf(r: number, { rowsEach, together }: PartialTile): string {
  if (together === 8) return `    let m = max(m${r}, most${r});`
  return `    var m = m${r};
    let first = (y * ${rowsEach}u + ${r}u) * 8u;
    for (var other = 0u; other < ${8 / together}u; other++) { m = max(m, bitcast<f32>(largest[first + other])); }`
}

/** Rescales one row to the new maximum and writes its four probabilities. */
function softmaxRow(r: number, quads: number, { dropout, statistics, tile }: PartialShape): string {
  const sums = `    let p${r} = select(vec4f(0), exp(max(s${r} - m, vec4f(-87.0))), allowed${r} & (s${r} - m > vec4f(-87.0)));
    l${r} = l${r} * scale + dot(p${r}, vec4f(1));`
  const statistic = `    t${r} = scale * (t${r} + max(m${r} - m, -1e30) * l${r});
${each(4, (k) => `    if (allowed${r}.${'xyzw'[k]} && (bestKey${r} == 0x7fffffff || s${r}.${'xyzw'[k]} > best${r})) { best${r} = s${r}.${'xyzw'[k]}; bestKey${r} = keyOwn + ${k}; }`)}
    d${r} = d${r} * scale + dot(p${r}, distanceOf(row${r}, keyOwn));
    t${r} += dot(p${r}, select(vec4f(0), s${r} - m, p${r} > vec4f(0)));`
  return `    {
${largestOf(r, tile)}
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
function valueChunks(quads: number, { valueQuads, halfValues, tile }: PartialShape): string {
  const parts = CHUNK_QUADS / 8
  return each(Math.ceil(quads / parts), (chunk) => {
    const own = Math.min(parts, quads - chunk * parts)
    const width = own * 8
    return `${chunk > 0 ? '    workgroupBarrier();' : ''}
    for (var item = local; item < ${TILE * width}u; item += 64u) {
      let at = keyFirst + i32(item / ${width}u);
      let column = group.z * ${SLICE_QUADS}u + ${chunk * CHUNK_QUADS}u + item % ${width}u;
      var v = vec4f(0);
      if (column < ${valueQuads}u && at < params.passEnd) { v = ${loaded('value', `u32(at) * ${valueQuads}u + column`, halfValues)}; }
      stage[item] = v;
    }
    workgroupBarrier();
    for (var quad = 0u; quad < ${TILE / 4}u; quad++) {
${each(tile.rowsEach, (r) => `      let p${r} = probabilities[(${r * 8}u + y) * 9u + quad];`)}
${each(4, (k) =>
  each(
    own,
    (n) => `      let v${k}_${n} = stage[(quad * 4u + ${k}u) * ${width}u + ${n * 8}u + x];
${each(tile.rowsEach, (r) => `      o${r}_${chunk * parts + n} += p${r}.${'xyzw'[k]} * v${k}_${n};`)}`,
  ),
)}
    }`
  })
}

function writePartials(quads: number, { valueQuads, tile }: PartialShape): string {
  return each(
    tile.rowsEach,
    (r) => `  if (rowFirst + y * ${tile.rowsEach}u + ${r}u < params.rows) {
    let at = ((params.slot + group.y) * params.rows + row${r}) * ${valueQuads}u;
${each(quads, (n) => `    { let column = group.z * ${SLICE_QUADS}u + ${n * 8}u + x; if (column < ${valueQuads}u) { partials[at + column] = o${r}_${n}; } }`)}
  }`,
  )
}

/** Adds up what the eight invocations of a row hold, in their order; the lowest key wins a tie. */
function writeStates({ statistics, tile: { rowsEach } }: PartialShape): string {
  const of = (r: number): string => `(y * ${rowsEach}u + ${r}u) * 8u`
  return `${each(
    rowsEach,
    (r) => `  stage[${of(r)} + x] = vec4f(l${r}, ${statistics ? `t${r}, d${r}` : '0, 0'}, 0);
  largest[${of(r)} + x] = ${statistics ? `select(0x7fffffff, bestKey${r}, best${r} == m${r})` : '0'};`,
  )}
  workgroupBarrier();
${each(
  rowsEach,
  (r) => `  if (x == 0u && group.z == 0u && rowFirst + y * ${rowsEach}u + ${r}u < params.rows) {
    var sums = vec4f(0);
    var lowestKey = 0x7fffffff;
    for (var other = 0u; other < 8u; other++) {
      sums += stage[${of(r)} + other];
      lowestKey = min(lowestKey, largest[${of(r)} + other]);
    }
    let at = ((params.slot + group.y) * params.rows + row${r}) * 2u;
    rowStates[at] = bitcast<vec4u>(vec4f(m${r}, sums.x, sums.y, sums.z));
    rowStates[at + 1u] = vec4u(u32(lowestKey) + params.segmentStart, 0u, 0u, 0u);
  }`,
)}`
}
