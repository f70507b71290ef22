import fc from 'fast-check'
import { optionBuilders } from './option-cases.ts'
import type { AttentionInputs, MathOptions } from './problem.ts'
import { Random } from './random.ts'
import { normalTensor } from './tensors.ts'

/** A call whose shapes and options were drawn at random. */
export interface RandomCall {
  readonly inputs: AttentionInputs
  readonly options: MathOptions
  readonly chunkSize: number
}

const heavy = process.env['HEDDLE_HEAVY'] === '1'

/**
 * How often a property is tried, and from which seed: the same for a whole run, and printed, so that a failure can be
 * repeated.
 */
export const propertySettings = {
  timeoutMs: heavy ? 600_000 : 60_000,
  seed: Number(process.env['HEDDLE_SEED'] ?? Date.now() % 2147483647),
  numRuns: heavy ? 600 : 40,
}

/** Shrinks towards small sizes and no options; the data itself comes from a seed. */
export function randomCall(): fc.Arbitrary<RandomCall> {
  const shape = fc.record({
    B: fc.integer({ min: 1, max: 3 }),
    Hkv: fc.integer({ min: 1, max: 3 }),
    group: fc.integer({ min: 1, max: 3 }),
    M: fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 150 })),
    N: fc.oneof(fc.integer({ min: 0, max: 20 }), fc.integer({ min: 1, max: 300 })),
    D: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 70 })),
    Dv: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 70 })),
  })
  const packed = fc.boolean()
  const names = fc.subarray(Object.keys(optionBuilders), { maxLength: 6 })
  const rest = { packed, names, chunkSize: fc.integer({ min: 1, max: 160 }), dataSeed: fc.nat() }
  return fc.record({ shape, ...rest }).map(({ shape: sizes, packed: isPacked, names: chosen, chunkSize, dataSeed }) => {
    const random = new Random(dataSeed)
    const { B, Hkv, group, M, N, D, Dv } = sizes
    const H = Hkv * group
    const of = (heads: number, rows: number, size: number) =>
      normalTensor(random, isPacked ? [B, rows, heads * size] : [B, heads, rows, size])
    const inputs = { query: of(H, M, D), key: of(Hkv, N, D), value: of(Hkv, N, Dv) }
    const layout = isPacked ? { heads: H, keyValueHeads: Hkv } : {}
    const options = Object.assign(
      layout,
      ...chosen.map((name) => optionBuilders[name]!(random, { B, H, M, N })),
    ) as MathOptions
    return { inputs, options, chunkSize }
  })
}

/** For fast-check's messages: shapes and options, without the data. */
export function describeCall({ inputs, options, chunkSize }: RandomCall): string {
  const shapes = [inputs.query, inputs.key, inputs.value].map(({ shape }) => `[${shape.join(', ')}]`).join(' ')
  return `${shapes}, ${Object.keys(options).join(' ')}, chunk size ${chunkSize}, seed ${propertySettings.seed}`
}
