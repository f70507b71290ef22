import { philoxWords, type SeedWords } from '../../core/philox.ts'

const ROUNDS = 6
/** Keeps these numbers apart from others that are drawn under the same seed. */
const DOMAIN = 0xfffffffc
const words = new Uint32Array(4)

/**
 * The place of `index` in a permutation of 0 … size − 1 that the seed and `epoch` choose, without computing any other
 * place: a Feistel network over Philox on the next even power of two, walked until it comes back below `size` (Black
 * and Rogaway 2002).
 *
 * @param size up to 2³⁰
 */
export function permuted(index: number, size: number, seed: SeedWords, epoch: number): number {
  let halfBits = 1
  while (4 ** halfBits < size) halfBits++
  let place = index
  do place = shuffled(place, halfBits, seed, epoch)
  while (place >= size)
  return place
}

/** One pass through the network: a permutation of 0 … 4^halfBits − 1. */
function shuffled(place: number, halfBits: number, seed: SeedWords, epoch: number): number {
  const mask = 2 ** halfBits - 1
  let [left, right] = [place >>> halfBits, place & mask]
  for (let round = 0; round < ROUNDS; round++) {
    philoxWords(words, seed, right, round, epoch, DOMAIN)
    ;[left, right] = [right, left ^ ((words[0] ?? 0) & mask)]
  }
  return (left << halfBits) | right
}
