import { TILE } from '../constants.ts'
import { each, UniformLayout } from './kernel.ts'

/** What shapes the score part of a kernel: the options that are on, and the head size in vectors of four. */
export interface ScoreShape {
  /** ⌈D / 4⌉: query and key rows are padded with zeros to it */
  readonly headQuads: number
  readonly mask: boolean
  readonly bias: boolean
  readonly segments: boolean
  readonly softcap: boolean
  readonly alibi: boolean
}

/**
 * What a pass over a range of keys is told. Keys are counted from the start of their segment (the range of keys in the bound
 * buffer), rows from the start of the bound query rows; positions are relative to the segment, clamped to ±2³⁰.
 */
export const scoreParams = new UniformLayout({
  rows: 'u32',
  passStart: 'i32',
  passEnd: 'i32',
  splitKeys: 'i32',
  slot: 'u32',
  keyMin: 'i32',
  keyMax: 'i32',
  lowFirst: 'i32',
  highFirst: 'i32',
  distanceFirst: 'i32',
  distanceBase: 'f32',
  scale: 'f32',
  softcap: 'f32',
  slope: 'f32',
  maskStride: 'u32',
  biasStride: 'u32',
  firstRow: 'u32',
  segmentStart: 'u32',
  batchHead: 'u32',
  seedLow: 'u32',
  seedHigh: 'u32',
  threshold: 'u32',
  keepScale: 'f32',
})

/** Head-size vectors that are staged at once. */
const SLAB = 8

/** Vectors of workgroup memory that the score tile needs in `stage`. */
export function scoreStageQuads({ headQuads }: ScoreShape): number {
  return 2 * TILE * (Math.min(SLAB, headQuads) + 1)
}

export function scoreKey(shape: ScoreShape): string {
  const flags = (['mask', 'bias', 'segments', 'softcap', 'alibi'] as const).filter((flag) => shape[flag])
  return [`d${shape.headQuads}`, ...flags].join('-')
}

/**
 * WGSL for a tile of 32 rows × 32 keys of softcap(scale·Q·Kᵀ) + bias − slope·distance, and for which of them are allowed.
 * Invocation (x, y) of 8 × 8 holds rows 4y … 4y + 3 and keys 4x … 4x + 3: four neighbouring keys are one Philox block, one
 * mask word, one bias vector. Rows of Q and K are staged slab by slab in permuted order (row r at (r mod 4)·8 + ⌊r / 4⌋,
 * odd stride), so that the eight rows that a step reads lie in different banks.
 *
 * Expects of the kernel: `stage: array<vec4f, ≥ scoreStageQuads>` in workgroup memory, free when `dotTile` is called.
 */
export function scoreTileSource(shape: ScoreShape): string {
  return `${scoreParams.source}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> query: array<vec4f>;
@group(0) @binding(2) var<storage, read> key: array<vec4f>;
${shape.mask ? '@group(0) @binding(3) var<storage, read> mask: array<u32>;' : ''}
${shape.bias ? '@group(0) @binding(4) var<storage, read> bias: array<vec4u>;' : ''}
${shape.segments ? '@group(0) @binding(5) var<storage, read> segments: array<i32>;' : ''}
${dotTileSource(shape)}
fn distanceOf(place: u32, key: i32) -> vec4f {
  let steps = vec4i(params.distanceFirst + i32(place) - key) - vec4i(0, 1, 2, 3);
  return abs(vec4f(steps) + vec4f(params.distanceBase));
}
${shape.softcap ? tanhSource : ''}
${shape.bias ? biasSource : ''}
${finishSource(shape)}`
}

/** Sixteen dot products an invocation, slab by slab over the head size. */
function dotTileSource({ headQuads }: ScoreShape): string {
  const slab = Math.min(SLAB, headQuads)
  const stride = slab + 1
  const keyPart = TILE * stride
  return `struct Dots { ${each(4, (r) => `row${r}: vec4f,`, ' ')} }
fn dotTile(local: u32, rowFirst: u32, keyFirst: u32) -> Dots {
  let x = local % 8u;
  let y = local / 8u;
  var dots = Dots(${each(4, () => 'vec4f(0)', ', ')});
  for (var quad = 0u; quad < ${headQuads}u; quad += ${slab}u) {
    workgroupBarrier();
    for (var item = local; item < ${TILE * slab}u; item += 64u) {
      let at = item / ${slab}u;
      let column = quad + item % ${slab}u;
      let staged = ((at & 3u) * 8u + (at >> 2u)) * ${stride}u + item % ${slab}u;
      var q = vec4f(0);
      var k = vec4f(0);
      if (column < ${headQuads}u) {
        if (rowFirst + at < params.rows) { q = query[(rowFirst + at) * ${headQuads}u + column]; }
        if (i32(keyFirst + at) < params.passEnd) { k = key[(keyFirst + at) * ${headQuads}u + column]; }
      }
      stage[staged] = q;
      stage[${keyPart}u + staged] = k;
    }
    workgroupBarrier();
    for (var c = 0u; c < ${slab}u; c++) {
${each(4, (k) => `      let k${k} = stage[${keyPart}u + (${k * 8}u + x) * ${stride}u + c];`)}
${each(4, (r) => `      let q${r} = stage[(${r * 8}u + y) * ${stride}u + c];`)}
${each(4, (r) => `      dots.row${r} += vec4f(${each(4, (k) => `dot(q${r}, k${k})`, ', ')});`)}
    }
  }
  return dots;
}`
}

/** tanh by its series below 1/2 and by exp above: WGSL's own has no stated accuracy and overflows on some hardware. */
const tanhSource = `fn tanhOf(x: vec4f) -> vec4f {
  let size = abs(x);
  let near = clamp(x, vec4f(-0.5), vec4f(0.5));
  let square = near * near;
  let series = near * (1.0 + square * (-0.33333333333 + square * (0.13333333333 + square * (-0.053968253968
    + square * (0.021869488536 + square * (-0.0088632355299 + square * 0.0035921280366))))));
  let decay = exp(-2.0 * min(size, vec4f(20.0)));
  return select(sign(x) * (1.0 - decay) / (1.0 + decay), series, size < vec4f(0.5));
}`

/** Bits of −∞ mark a masked key: the value itself is never computed with. */
const biasSource = `const MINUS_INFINITY = vec4u(0xff800000u);
fn biasBits(row: u32, key: i32) -> vec4u {
  return bias[row * params.biasStride + u32(key - params.passStart) / 4u];
}`

/** From dot products to scores, and the allowed keys. `row` counts packed rows, `place` the row in the task. */
function finishSource(shape: ScoreShape): string {
  return `fn scoreOf(dots: vec4f, row: u32, place: u32, key: i32) -> vec4f {
  var score = dots * params.scale;
  ${shape.softcap ? 'score = params.softcap * tanhOf(score / params.softcap);' : ''}
  ${shape.bias ? `let bits = biasBits(row, key);
  score += bitcast<vec4f>(select(bits, vec4u(0), bits == MINUS_INFINITY));` : ''}
  ${shape.alibi ? 'score -= params.slope * distanceOf(place, key);' : ''}
  return score;
}
fn allowedOf(row: u32, place: u32, key: i32) -> vec4<bool> {
  let keys = vec4i(key) + vec4i(0, 1, 2, 3);
  let low = max(params.lowFirst + i32(place), params.keyMin);
  let high = min(params.highFirst + i32(place), params.keyMax - 1);
  var allowed = (keys >= vec4i(low)) & (keys <= vec4i(high));
  ${shape.mask ? `let bytes = (vec4u(mask[row * params.maskStride + u32(key - params.passStart) / 4u]) >> vec4u(0, 8, 16, 24)) & vec4u(255);
  allowed = allowed & (bytes != vec4u(0));` : ''}
  ${shape.bias ? 'allowed = allowed & (biasBits(row, key) != MINUS_INFINITY);' : ''}
  ${shape.segments ? `let column = params.rows + u32(key - params.passStart);
  let keySegments = vec4i(segments[column], segments[column + 1u], segments[column + 2u], segments[column + 3u]);
  allowed = allowed & (keySegments == vec4i(segments[row]));` : ''}
  return allowed;
}`
}
