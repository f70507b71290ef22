/** [H, n, D] to [n, H, D], as onnxruntime takes it. */
export function headsLast(data: Float32Array, heads: number, rows: number, width: number): Float32Array {
  return data.map(
    (_, at) =>
      data[
        (Math.floor(at / width) % heads) * rows * width + Math.floor(at / (heads * width)) * width + (at % width)
      ] as number,
  )
}

/** [n, H, D] to [H, n, D]. */
export function headsFirst(data: Float32Array, heads: number, rows: number, width: number): Float32Array {
  const out = new Float32Array(data.length)
  for (let h = 0; h < heads; h++)
    for (let r = 0; r < rows; r++)
      out.set(data.subarray((r * heads + h) * width, (r * heads + h + 1) * width), (h * rows + r) * width)
  return out
}
