import type { Ledger } from '../core/ledger.ts'
import type { AttentionSizes } from '../plan/attention-sizes.ts'

/** The weights of chosen heads and rows: [B, heads, rows, N] in the caller's order, duplicates included. */
export class WeightSelectionResult {
  readonly shape: readonly number[]
  readonly data: Float32Array
  /** ascending and distinct, for the lanes */
  readonly rows: readonly number[]
  readonly #headPlaces: ReadonlyMap<number, readonly number[]>
  readonly #rowPlaces: ReadonlyMap<number, readonly number[]>

  constructor(
    private readonly sizes: AttentionSizes,
    wanted: { readonly heads: readonly number[]; readonly rows: readonly number[] },
    ledger: Ledger,
    shared: boolean,
  ) {
    this.shape = [sizes.batch, wanted.heads.length, wanted.rows.length, sizes.keys]
    this.data = ledger.array('weights', Float32Array, selectionElements(sizes, wanted), shared)
    this.#headPlaces = placesOf(wanted.heads)
    this.#rowPlaces = placesOf(wanted.rows)
    this.rows = [...this.#rowPlaces.keys()].sort((a, b) => a - b)
  }

  /** The chosen rows of a chunk, as indices into it; undefined where the head or all its rows were not chosen. */
  rowsOf(head: number, rowStart: number, rows: number): Int32Array | undefined {
    if (!this.#headPlaces.has(head)) return undefined
    const chosen = this.rows.filter((row) => row >= rowStart && row < rowStart + rows)
    return chosen.length === 0 ? undefined : Int32Array.from(chosen, (row) => row - rowStart)
  }

  /** Puts the weights of one row where it was asked for. */
  place(batch: number, head: number, row: number, weights: Float32Array): void {
    const [, heads = 0, rows = 0, keys = 0] = this.shape
    for (const headPlace of this.#headPlaces.get(head) ?? []) {
      for (const rowPlace of this.#rowPlaces.get(row) ?? [])
        this.data.set(weights, ((batch * heads + headPlace) * rows + rowPlace) * keys)
    }
  }

  /** Takes the chosen rows out of the whole matrix [B, H, M, N]. */
  gather(matrix: Float32Array): void {
    const { batch, heads, queries, keys } = this.sizes
    for (let b = 0; b < batch; b++) {
      for (const head of this.#headPlaces.keys()) {
        for (const row of this.rows) {
          const start = ((b * heads + head) * queries + row) * keys
          this.place(b, head, row, matrix.subarray(start, start + keys))
        }
      }
    }
  }
}

export function selectionElements(
  { batch, keys }: AttentionSizes,
  wanted: { readonly heads: readonly number[]; readonly rows: readonly number[] },
): number {
  return batch * wanted.heads.length * wanted.rows.length * keys
}

function placesOf(indices: readonly number[]): Map<number, number[]> {
  const places = new Map<number, number[]>()
  indices.forEach((index, place) => places.set(index, [...(places.get(index) ?? []), place]))
  return places
}
