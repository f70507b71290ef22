import { expect, test } from 'vitest'
import { measureCloseness, pooled } from '../support/error-rule.ts'
import { optionBuilders } from '../support/option-cases.ts'
import { attentionReference, type Reference } from '../support/oracle.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { filled, normalTensor } from '../support/tensors.ts'

// The table of docs/numerics.md: HEDDLE_HEAVY=1 npx vitest run tests/properties/worst-errors
const heavy = process.env['HEDDLE_HEAVY'] === '1'
const runtime = useRuntime({ workers: 1 })
const seeds = heavy ? [1, 2, 3, 4, 5, 6, 7, 8] : [1]
const [M, N, D] = [heavy ? 40 : 32, heavy ? 600 : 300, 64]

function inputs(random: Random, spread = 1): AttentionInputs {
  return {
    query: normalTensor(random, [1, 2, M, D], spread),
    key: normalTensor(random, [1, 2, N, D]),
    value: normalTensor(random, [1, 2, N, D]),
  }
}

const dims = { B: 1, H: 2, M, N }
const families: Readonly<Record<string, (random: Random) => readonly [AttentionInputs, MathOptions]>> = {
  'no option': (random) => [inputs(random), {}],
  causal: (random) => [inputs(random), { causal: true, queryOffset: N - M }],
  'softcap 5': (random) => [inputs(random, 4), { softcap: 5 }],
  'bias and mask': (random) => [
    inputs(random),
    { ...optionBuilders['bias']!(random, dims), ...optionBuilders['mask']!(random, dims) },
  ],
  ALiBi: (random) => [inputs(random), { alibiSlopes: Float32Array.of(0.5, 0.03), causal: true, queryOffset: N - M }],
  'dropout 0.3': (random) => [inputs(random), { dropout: { probability: 0.3, seed: 9 } }],
  'peaked rows (logits of some ±30)': (random) => [inputs(random, 10), {}],
  'logits of ±1e4': (random) => [inputs(random, 3000), {}],
  'rising logits': (random) => [inputs(random), { bias: filled([N], (j) => j * 0.2) }],
}

const parts = ['output', 'weights', 'logSumExp', 'entropy', 'maxWeight', 'meanDistance'] as const

test.each(Object.entries(families))(
  '%s: every part within the rule',
  async (name, family) => {
    const found = new Map<string, { actual: number[]; references: Reference[] }>()
    for (const seed of seeds) {
      const [call, options] = family(new Random(seed))
      const reference = attentionReference(call, options)
      for (const mode of ['chunked', 'standard'] as const) {
        const result = await runtime().attention(call, {
          ...options,
          mode,
          returnLogSumExp: true,
          returnStatistics: true,
          returnWeights: mode === 'standard',
        })
        const tensors = {
          ...result.statistics,
          output: result.output,
          logSumExp: result.logSumExp,
          weights: result.weights,
        }
        for (const part of parts) {
          const tensor = tensors[part]
          if (tensor === undefined) continue
          const { actual, references } = found.get(part) ?? { actual: [], references: [] }
          found.set(part, { actual: actual.concat([...tensor.data]), references: [...references, reference[part]] })
        }
      }
    }
    const cells = parts.map((part) => {
      const { actual, references } = found.get(part)!
      // peaked rows leave few numbers that matter: one lucky plain result would be the bar
      const { exact, plain } = pooled(references)
      const { ok, error, plainError, bound } = measureCloseness(actual, exact, plain)
      expect(ok, `${part}: e = ${error}, e_plain = ${plainError}, bound = ${bound}`).toBe(true)
      return `${part} ${error.toExponential(1)} (plain ${plainError.toExponential(1)}, ${Math.round((100 * error) / bound)} % of the bound)`
    })
    if (heavy) console.info([name, runtime().lanes[0]?.kernels, ...cells].join(' | '))
  },
  120_000,
)
