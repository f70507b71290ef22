import { TILE } from '../constants.ts'
import { each } from './kernel.ts'

/** Two row-major operands [rows, quads] and [columns, quads], as the kernel names them, and their ends. */
export interface DotTileOperands {
  readonly quads: number
  readonly rows: string
  /** the vector at an index of the columns */
  readonly columns: (index: string) => string
  readonly rowEnd: string
  readonly columnEnd: string
  /** rows of an invocation: 4, a tile of 32 × 32, or 8, one of 64 × 32. @default 4 */
  readonly rowsEach?: RowsEach
}

export type RowsEach = 4 | 8

/** Vectors of a row that are staged at once. */
const SLAB = 8

/** Vectors of workgroup memory that the tile needs in `stage`. */
export function dotStageQuads(quads: number, rowsEach: RowsEach = 4): number {
  return (8 * rowsEach + TILE) * (Math.min(SLAB, quads) + 1)
}

/**
 * WGSL of `dotTile(local, rowFirst, columnFirst)`: the 8R × 32 dot products of rows with columns, 4R an invocation of 8
 * × 8: (x, y) gets rows R·y … R·y + R − 1 against columns 4x … 4x + 3, what lies past an end counting as zeros. Both
 * operands are staged slab by slab in permuted order (row r at (r mod R)·8 + ⌊r / R⌋, odd stride), so that the eight
 * rows that a step reads lie in different banks: R + 4 reads of 16 bytes for 16·R multiply-adds.
 *
 * Expects of the kernel: `stage: array<vec4f, ≥ dotStageQuads>` in workgroup memory, free when `dotTile` is called.
 */
export function dotTileSource({ quads, rows, columns, rowEnd, columnEnd, rowsEach = 4 }: DotTileOperands): string {
  const slab = Math.min(SLAB, quads)
  const stride = slab + 1
  const columnPart = 8 * rowsEach * stride
  return `struct Dots { ${each(rowsEach, (r) => `row${r}: vec4f,`, ' ')} }
fn dotTile(local: u32, rowFirst: u32, columnFirst: u32) -> Dots {
  let x = local % 8u;
  let y = local / 8u;
  var dots = Dots(${each(rowsEach, () => 'vec4f(0)', ', ')});
  for (var quad = 0u; quad < ${quads}u; quad += ${slab}u) {
    workgroupBarrier();
    for (var item = local; item < ${8 * rowsEach * slab}u; item += 64u) {
      let at = item / ${slab}u;
      let column = quad + item % ${slab}u;
      var q = vec4f(0);
      if (column < ${quads}u && rowFirst + at < ${rowEnd}) { q = ${rows}[(rowFirst + at) * ${quads}u + column]; }
      stage[((at % ${rowsEach}u) * 8u + at / ${rowsEach}u) * ${stride}u + item % ${slab}u] = q;
    }
    for (var item = local; item < ${TILE * slab}u; item += 64u) {
      let at = item / ${slab}u;
      let column = quad + item % ${slab}u;
      var k = vec4f(0);
      if (column < ${quads}u && columnFirst + at < ${columnEnd}) { k = ${columns(`(columnFirst + at) * ${quads}u + column`)}; }
      stage[${columnPart}u + ((at & 3u) * 8u + (at >> 2u)) * ${stride}u + item % ${slab}u] = k;
    }
    workgroupBarrier();
    for (var c = 0u; c < ${slab}u; c++) {
${each(4, (k) => `      let k${k} = stage[${columnPart}u + (${k * 8}u + x) * ${stride}u + c];`)}
${each(rowsEach, (r) => `      let q${r} = stage[(${r * 8}u + y) * ${stride}u + c];`)}
${each(rowsEach, (r) => `      dots.row${r} += vec4f(${each(4, (k) => `dot(q${r}, k${k})`, ', ')});`)}
    }
  }
  return dots;
}`
}
