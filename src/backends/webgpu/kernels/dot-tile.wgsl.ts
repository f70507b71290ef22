import { TILE } from '../constants.ts'
import { each } from './kernel.ts'

/** Two row-major operands [rows, quads] and [columns, quads], by the names that the kernel gives them and their ends. */
export interface DotTileOperands {
  readonly quads: number
  readonly rows: string
  readonly columns: string
  readonly rowEnd: string
  readonly columnEnd: string
}

/** Vectors of a row that are staged at once. */
const SLAB = 8

/** Vectors of workgroup memory that the tile needs in `stage`. */
export function dotStageQuads(quads: number): number {
  return 2 * TILE * (Math.min(SLAB, quads) + 1)
}

/**
 * WGSL of `dotTile(local, rowFirst, columnFirst)`: the 32 × 32 dot products of rows with columns, sixteen an invocation of
 * 8 × 8: (x, y) gets rows 4y … 4y + 3 against columns 4x … 4x + 3, what lies past an end counting as zeros. Both operands
 * are staged slab by slab in permuted order (row r at (r mod 4)·8 + ⌊r / 4⌋, odd stride), so that the eight rows that a step
 * reads lie in different banks: eight reads of 16 bytes for 64 multiply-adds.
 *
 * Expects of the kernel: `stage: array<vec4f, ≥ dotStageQuads>` in workgroup memory, free when `dotTile` is called.
 */
export function dotTileSource({ quads, rows, columns, rowEnd, columnEnd }: DotTileOperands): string {
  const slab = Math.min(SLAB, quads)
  const stride = slab + 1
  const columnPart = TILE * stride
  return `struct Dots { ${each(4, (r) => `row${r}: vec4f,`, ' ')} }
fn dotTile(local: u32, rowFirst: u32, columnFirst: u32) -> Dots {
  let x = local % 8u;
  let y = local / 8u;
  var dots = Dots(${each(4, () => 'vec4f(0)', ', ')});
  for (var quad = 0u; quad < ${quads}u; quad += ${slab}u) {
    workgroupBarrier();
    for (var item = local; item < ${TILE * slab}u; item += 64u) {
      let at = item / ${slab}u;
      let column = quad + item % ${slab}u;
      let staged = ((at & 3u) * 8u + (at >> 2u)) * ${stride}u + item % ${slab}u;
      var q = vec4f(0);
      var k = vec4f(0);
      if (column < ${quads}u) {
        if (rowFirst + at < ${rowEnd}) { q = ${rows}[(rowFirst + at) * ${quads}u + column]; }
        if (columnFirst + at < ${columnEnd}) { k = ${columns}[(columnFirst + at) * ${quads}u + column]; }
      }
      stage[staged] = q;
      stage[${columnPart}u + staged] = k;
    }
    workgroupBarrier();
    for (var c = 0u; c < ${slab}u; c++) {
${each(4, (k) => `      let k${k} = stage[${columnPart}u + (${k * 8}u + x) * ${stride}u + c];`)}
${each(4, (r) => `      let q${r} = stage[(${r * 8}u + y) * ${stride}u + c];`)}
${each(4, (r) => `      dots.row${r} += vec4f(${each(4, (k) => `dot(q${r}, k${k})`, ', ')});`)}
    }
  }
  return dots;
}`
}
