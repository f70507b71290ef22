import { dotTileSource, type RowsEach } from './dot-tile.wgsl.ts'
import { UniformLayout } from './kernel.ts'
import { tanhSource } from './tanh.wgsl.ts'

/** What shapes the score part of a kernel: the options that are on, and the head size in vectors of four. */
export interface ScoreShape {
  /** ⌈D / 4⌉: query and key rows are padded with zeros to it */
  readonly headQuads: number
  readonly mask: boolean
  readonly bias: boolean
  readonly segments: boolean
  readonly softcap: boolean
  readonly alibi: boolean
  /** keys stand as float16, two in a word */
  readonly halfKeys: boolean
}

/**
 * What a pass over a range of keys is told. Keys are counted from the start of their segment (the range of keys in the
 * bound buffer), rows from the start of the bound query rows; positions are relative to the segment, clamped to ±2³⁰.
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

export function scoreKey(shape: ScoreShape): string {
  const flags = (['mask', 'bias', 'segments', 'softcap', 'alibi', 'halfKeys'] as const).filter((flag) => shape[flag])
  return [`d${shape.headQuads}`, ...flags].join('-')
}

/**
 * WGSL for a tile of 8R rows × 32 keys of softcap(scale·Q·Kᵀ) + bias − slope·distance, and for which of them are
 * allowed. Invocation (x, y) of 8 × 8 holds rows R·y … R·y + R − 1 and keys 4x … 4x + 3: four neighbouring keys are one
 * Philox block, one mask word, one bias vector. Expects of the kernel what `dotTileSource` expects.
 */
export function scoreTileSource(shape: ScoreShape, rowsEach: RowsEach = 4): string {
  return `${scoreParams.source}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> query: array<vec4f>;
@group(0) @binding(2) var<storage, read> key: array<${storedType(shape.halfKeys)}>;
${shape.mask ? '@group(0) @binding(3) var<storage, read> mask: array<u32>;' : ''}
${shape.bias ? '@group(0) @binding(4) var<storage, read> bias: array<vec4u>;' : ''}
${shape.segments ? '@group(0) @binding(5) var<storage, read> segments: array<i32>;' : ''}
${dotTileSource({ quads: shape.headQuads, rows: 'query', columns: (index) => loaded('key', index, shape.halfKeys), rowEnd: 'params.rows', columnEnd: 'u32(params.passEnd)', rowsEach })}
fn distanceOf(place: u32, key: i32) -> vec4f {
  let steps = vec4i(params.distanceFirst + i32(place) - key) - vec4i(0, 1, 2, 3);
  return abs(vec4f(steps) + vec4f(params.distanceBase));
}
${shape.softcap ? tanhSource : ''}
${shape.bias ? biasSource : ''}
${finishSource(shape)}`
}

/** A vector of four as it is stored: float32, or float16 in two words. */
export function storedType(half: boolean): string {
  return half ? 'vec2u' : 'vec4f'
}

/** The vector at `index` of a buffer of `storedType`. */
export function loaded(buffer: string, index: string, half: boolean): string {
  return half
    ? `vec4f(unpack2x16float(${buffer}[${index}].x), unpack2x16float(${buffer}[${index}].y))`
    : `${buffer}[${index}]`
}

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
  ${
    shape.bias
      ? `let bits = biasBits(row, key);
  score += bitcast<vec4f>(select(bits, vec4u(0), bits == MINUS_INFINITY));`
      : ''
  }
  ${shape.alibi ? 'score -= params.slope * distanceOf(place, key);' : ''}
  return score;
}
fn allowedOf(row: u32, place: u32, key: i32) -> vec4<bool> {
  let keys = vec4i(key) + vec4i(0, 1, 2, 3);
  let low = max(params.lowFirst + i32(place), params.keyMin);
  let high = min(params.highFirst + i32(place), params.keyMax - 1);
  var allowed = (keys >= vec4i(low)) & (keys <= vec4i(high));
  ${
    shape.mask
      ? `let bytes = (vec4u(mask[row * params.maskStride + u32(key - params.passStart) / 4u]) >> vec4u(0, 8, 16, 24)) & vec4u(255);
  allowed = allowed & (bytes != vec4u(0));`
      : ''
  }
  ${shape.bias ? 'allowed = allowed & (biasBits(row, key) != MINUS_INFINITY);' : ''}
  ${
    shape.segments
      ? `let column = params.rows + u32(key - params.passStart);
  let keySegments = vec4i(segments[column], segments[column + 1u], segments[column + 2u], segments[column + 3u]);
  allowed = allowed & (keySegments == vec4i(segments[row]));`
      : ''
  }
  return allowed;
}`
}
