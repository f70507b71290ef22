/**
 * The sum of the equal parts of each row, in their order: to_c = Σ_g x_{g·size + c}.
 *
 * @param x [rows, groups·size]
 * @param to [rows, size]; not x
 */
export function foldRows(x: usize, rows: i32, groups: i32, size: i32, to: usize): void {
  const partBytes = <usize>size << 2
  const fours = partBytes & ~15
  for (let row = 0; row < rows; row++, to += partBytes) {
    memory.copy(to, x, partBytes)
    x += partBytes
    for (let group = 1; group < groups; group++, x += partBytes) {
      let at: usize = 0
      for (; at < fours; at += 16) v128.store(to + at, f32x4.add(v128.load(to + at), v128.load(x + at)))
      for (; at < partBytes; at += 4) store<f32>(to + at, load<f32>(to + at) + load<f32>(x + at))
    }
  }
}
