import type { MathOptions } from './problem.ts'
import { Random } from './random.ts'
import { integerTensor, maskTensor, normalTensor } from './tensors.ts'

export interface Dims {
  readonly B: number
  readonly H: number
  readonly M: number
  readonly N: number
}

/** One way to use each option that changes the mathematics, for the score shape [B, H, M, N]. */
export const optionBuilders: Readonly<Record<string, (random: Random, dims: Dims) => MathOptions>> = {
  scale: () => ({ scale: 0.6 }),
  softcap: () => ({ softcap: 1.5 }),
  mask: (random, { B, M, N }) => ({ mask: maskTensor(random, [B, 1, M, N]) }),
  bias: (random, { H, M, N }) => ({ bias: withMinusInfinity(random, normalTensor(random, [1, H, M, N])) }),
  causal: () => ({ causal: true }),
  queryOffset: (random, { B, N }) => ({ queryOffset: Int32Array.from({ length: B }, () => random.integer(-3, N)) }),
  window: (_, { N }) => ({ window: { before: Math.ceil(N / 4), after: Math.ceil(N / 9) } }),
  alibiSlopes: (random, { B, H }) => ({
    alibiSlopes: Float32Array.from({ length: B * H }, () => random.uniform() / 8),
  }),
  segments: (random, { B, M, N }) => ({
    segments: { query: integerTensor(random, [B, M], 3), key: integerTensor(random, [B, N], 4) },
  }),
  keyLengths: (random, { B, N }) => ({
    keyLengths: Int32Array.from({ length: B }, () => random.integer(Math.floor(N / 3), N)),
  }),
  dropout: (random) => ({ dropout: { probability: 0.3, seed: random.word() * 1024 + 5 } }),
}

function withMinusInfinity(random: Random, tensor: ReturnType<typeof normalTensor>) {
  return { data: tensor.data.map((x) => (random.chance(0.1) ? -Infinity : x)), shape: tensor.shape }
}

export interface OptionCase {
  readonly name: string
  readonly options: (random: Random, dims: Dims) => MathOptions
}

const names = Object.keys(optionBuilders)

/** Every option alone, and none. */
export const singleCases: readonly OptionCase[] = [
  { name: 'no option', options: () => ({}) },
  ...names.map((name) => ({ name, options: optionBuilders[name]! })),
]

/** Every pair of options. */
export const pairCases: readonly OptionCase[] = names.flatMap((first, at) =>
  names.slice(at + 1).map((second) => ({
    name: `${first} and ${second}`,
    options: (random: Random, dims: Dims) => ({
      ...optionBuilders[first]!(random, dims),
      ...optionBuilders[second]!(random, dims),
    }),
  })),
)

/** All options at once. */
export const fullCase: OptionCase = {
  name: 'all options',
  options: (random, dims) =>
    Object.assign({}, ...names.map((name) => optionBuilders[name]!(random, dims))) as MathOptions,
}

/**
 * Sets of five options, few of them, in which every pair occurs: for a backend where each set has a kernel of its own,
 * which takes long to compile.
 */
export const coveringCases: readonly OptionCase[] = coveringSets(new Random(5)).map((set) => ({
  name: set.join(', '),
  options: (random, dims) =>
    Object.assign({}, ...set.map((name) => optionBuilders[name]!(random, dims))) as MathOptions,
}))

function coveringSets(random: Random): string[][] {
  const pairsOf = (set: readonly string[]): string[] =>
    set.flatMap((first) => set.filter((second) => first < second).map((second) => `${first} ${second}`))
  const missing = new Set(pairsOf(names))
  const sets: string[][] = []
  while (missing.size > 0) {
    const drawn = Array.from({ length: 100 }, () => random.shuffle([...names]).slice(0, 5))
    const gain = (set: readonly string[]): number => pairsOf(set).filter((pair) => missing.has(pair)).length
    const best = drawn.reduce((most, set) => (gain(set) > gain(most) ? set : most))
    if (gain(best) > 0) sets.push(best)
    for (const pair of pairsOf(best)) missing.delete(pair)
  }
  return sets
}
