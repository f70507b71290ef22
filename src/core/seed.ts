import { checkInteger, expected } from './check.ts'
import { philoxWords, type SeedWords } from './philox.ts'

/** A seed as callers give it: a safe integer ≥ 0, or a bigint below 2⁶⁴. */
export type Seed = number | bigint

/** @throws {OptionError} when the seed is neither */
export function seedWords(what: string, seed: unknown): SeedWords {
  if (typeof seed === 'bigint') {
    if (seed < 0n || seed >= 1n << 64n) throw expected(what, 'a safe integer ≥ 0 or a bigint below 2^64', seed)
    return { seedLow: Number(seed & 0xffffffffn), seedHigh: Number(seed >> 32n) }
  }
  checkInteger(what, seed, 0)
  return { seedLow: seed >>> 0, seedHigh: Math.floor(seed / 2 ** 32) }
}

/** The seed of part `index` of something that has `seed`: parts of one model draw independent numbers. */
export function deriveSeed(seed: SeedWords, index: number): SeedWords {
  const words = new Uint32Array(4)
  philoxWords(words, seed, index, 0, 0, 0xffffffff)
  return { seedLow: words[0] ?? 0, seedHigh: words[1] ?? 0 }
}

/** The same as one number for interfaces that take a seed. */
export function seedValue({ seedLow, seedHigh }: SeedWords): bigint {
  return (BigInt(seedHigh) << 32n) | BigInt(seedLow)
}

/** Element after element of one stream: a float64 in [0, 1) with 32 random bits. */
export class UniformStream {
  readonly #words = new Uint32Array(4)
  #next = 0

  constructor(private readonly seed: SeedWords) {}

  next(): number {
    const place = this.#next & 3
    if (place === 0)
      philoxWords(this.#words, this.seed, Math.floor(this.#next / 4) >>> 0, Math.floor(this.#next / 2 ** 34), 0, 0)
    this.#next++
    return (this.#words[place] ?? 0) / 2 ** 32
  }
}
