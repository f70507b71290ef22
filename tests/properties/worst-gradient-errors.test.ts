import { expect, test } from 'vitest'
import { gradientTolerance, measureCloseness, pooled } from '../support/error-rule.ts'
import { forwardFor } from '../support/gradient-checks.ts'
import { optionBuilders } from '../support/option-cases.ts'
import { backwardReference } from '../support/oracle-backward.ts'
import { attentionReference, type Reference } from '../support/oracle.ts'
import type { AttentionInputs, MathOptions } from '../support/problem.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

// The table of gradients in docs/numerics.md: HEDDLE_HEAVY=1 npx vitest run
// tests/properties/worst-gradient-errors
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
  'softcap 5, queries × 4': (random) => [inputs(random, 4), { softcap: 5 }],
  'bias and mask': (random) => [
    inputs(random),
    { ...optionBuilders['bias']!(random, dims), ...optionBuilders['mask']!(random, dims) },
  ],
  'ALiBi, causal': (random) => [
    inputs(random),
    { alibiSlopes: Float32Array.of(0.5, 0.03), causal: true, queryOffset: N - M },
  ],
  'dropout 0.3': (random) => [inputs(random), { dropout: { probability: 0.3, seed: 9 } }],
  'queries × 10: peaked rows': (random) => [inputs(random, 10), {}],
  'queries × 300: logits of ±1e3': (random) => [inputs(random, 300), {}],
}

const parts = ['dQuery', 'dKey', 'dValue'] as const

test.each(Object.entries(families))(
  '%s: every gradient within the rule',
  async (name, family) => {
    const found = new Map<string, { actual: number[]; references: Reference[] }>()
    const logSumExps: number[] = []
    for (const seed of seeds) {
      const [call, options] = family(new Random(seed))
      const forward = await forwardFor(runtime(), call, options, seed + 100)
      const reference = backwardReference(call, forward.dOutput, options)
      logSumExps.push(...attentionReference(call, options).logSumExp.exact)
      const result = await runtime().attentionBackward(forward, options)
      for (const part of parts) {
        const { actual, references } = found.get(part) ?? { actual: [], references: [] }
        found.set(part, { actual: actual.concat([...result[part].data]), references: [...references, reference[part]] })
      }
    }
    const cells = parts.map((part) => {
      const { actual, references } = found.get(part)!
      const { exact, plain } = pooled(references)
      const { ok, error, plainError, bound } = measureCloseness(actual, exact, plain, gradientTolerance(logSumExps))
      expect(ok, `${part}: e = ${error}, e_plain = ${plainError}, bound = ${bound}`).toBe(true)
      return `${error.toExponential(1)} (${plainError.toExponential(1)}) ${Math.round((100 * error) / bound)} %`
    })
    if (heavy) console.info(`| ${name} | ${cells.join(' | ')} | ${runtime().lanes[0]?.kernels}`)
  },
  120_000,
)
