/** The largest elements of some rows, element by element, and the index of the row that each came from. */
export interface LargestRows {
  readonly values: Float32Array
  /** `NO_ROW` before the first row */
  readonly places: Float32Array
}

/** No row came yet. */
export const NO_ROW = -1

/** Indices are stored as float32, which holds every integer up to that. */
export const MOST_LARGEST_ROWS = 2 ** 24

/** Elements before any row came: zeros. */
export function noLargestRows(width: number): LargestRows {
  return { values: new Float32Array(width), places: new Float32Array(width).fill(NO_ROW) }
}

/**
 * Takes one more row into the largest elements. It takes an element over only where it is larger: of equal elements the
 * first one stays, and NaN counts as larger than every number. That is the rule of PyTorch's `max` over a dimension;
 * its `amax` would divide a gradient among equal elements instead.
 */
export function takeLarger({ values, places }: LargestRows, row: Float32Array, index: number): void {
  if (places[0] === NO_ROW) {
    values.set(row)
    places.fill(index)
    return
  }
  for (let c = 0; c < values.length; c++) {
    const [own, most] = [row[c] as number, values[c] as number]
    if (!(own > most || (Number.isNaN(own) && !Number.isNaN(most)))) continue
    values[c] = own
    places[c] = index
  }
}
