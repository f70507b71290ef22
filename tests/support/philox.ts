/**
 * Philox 4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC 2011), in 64-bit BigInt
 * arithmetic so that it reads like the paper.
 */

export type Counter = readonly [number, number, number, number]
export type Key = readonly [number, number]

const MULTIPLIER_0 = 0xd2511f53n
const MULTIPLIER_1 = 0xcd9e8d57n
const WEYL_0 = 0x9e3779b9
const WEYL_1 = 0xbb67ae85
const LOW = 0xffffffffn

/** The four words that belong to a counter under a key. */
export function philox(counter: Counter, key: Key): Counter {
  let [c0, c1, c2, c3] = counter
  let [k0, k1] = key
  for (let round = 0; round < 10; round++) {
    const product0 = MULTIPLIER_0 * BigInt(c0)
    const product1 = MULTIPLIER_1 * BigInt(c2)
    const next: Counter = [xor(high(product1), c1, k0), low(product1), xor(high(product0), c3, k1), low(product0)]
    ;[c0, c1, c2, c3] = next
    k0 = (k0 + WEYL_0) >>> 0
    k1 = (k1 + WEYL_1) >>> 0
  }
  return [c0, c1, c2, c3]
}

function high(product: bigint): number {
  return Number(product >> 32n)
}

function low(product: bigint): number {
  return Number(product & LOW)
}

function xor(a: number, b: number, c: number): number {
  return (a ^ b ^ c) >>> 0
}

/** The keep mask of one row: counter (⌊j/4⌋, i, b·H + h, 0), word j mod 4, kept when word ≥ ⌊p·2³²⌋. */
export function keepMask(
  seed: number,
  probability: number,
  batchHead: number,
  row: number,
  keys: number,
): readonly boolean[] {
  const name = [seed, probability, batchHead, row, keys].join()
  const known = masks.get(name) ?? makeMask(seed, probability, batchHead, row, keys)
  if (masks.size >= MOST_MASKS) masks.clear()
  masks.set(name, known)
  return known
}

/** References in float64 and float32, forward and backward, and of each binary ask for the same rows. */
const masks = new Map<string, readonly boolean[]>()
const MOST_MASKS = 4096

function makeMask(seed: number, probability: number, batchHead: number, row: number, keys: number): boolean[] {
  const key: Key = [seed % 4294967296, Math.floor(seed / 4294967296)]
  const threshold = Math.floor(probability * 4294967296)
  const keep: boolean[] = []
  for (let block = 0; keep.length < keys; block++) {
    for (const word of philox([block, row, batchHead, 0], key)) keep.push(word >= threshold)
  }
  return keep.slice(0, keys)
}
