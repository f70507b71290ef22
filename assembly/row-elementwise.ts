/** Arithmetic on `count` elements, whatever rows they stand in; each rounds as the one operation that it is. */

/** y += x */
export function addRows(x: usize, count: i32, y: usize): void {
  const end = x + (<usize>count << 2)
  const wholeEnd = x + (<usize>(count & ~3) << 2)
  for (; x < wholeEnd; x += 16, y += 16) v128.store(y, f32x4.add(v128.load(y), v128.load(x)))
  for (; x < end; x += 4, y += 4) store<f32>(y, load<f32>(y) + load<f32>(x))
}

/** y −= x */
export function subtractRows(x: usize, count: i32, y: usize): void {
  const end = x + (<usize>count << 2)
  const wholeEnd = x + (<usize>(count & ~3) << 2)
  for (; x < wholeEnd; x += 16, y += 16) v128.store(y, f32x4.sub(v128.load(y), v128.load(x)))
  for (; x < end; x += 4, y += 4) store<f32>(y, load<f32>(y) - load<f32>(x))
}

/** y *= x, element by element */
export function multiplyRows(x: usize, count: i32, y: usize): void {
  const end = x + (<usize>count << 2)
  const wholeEnd = x + (<usize>(count & ~3) << 2)
  for (; x < wholeEnd; x += 16, y += 16) v128.store(y, f32x4.mul(v128.load(y), v128.load(x)))
  for (; x < end; x += 4, y += 4) store<f32>(y, load<f32>(y) * load<f32>(x))
}

/** y *= factor */
export function scaleRows(y: usize, count: i32, factor: f32): void {
  const end = y + (<usize>count << 2)
  const factors = f32x4.splat(factor)
  for (const wholeEnd = y + (<usize>(count & ~3) << 2); y < wholeEnd; y += 16) v128.store(y, f32x4.mul(v128.load(y), factors))
  for (; y < end; y += 4) store<f32>(y, load<f32>(y) * factor)
}
