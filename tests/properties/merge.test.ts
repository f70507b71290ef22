import fc from 'fast-check'
import { mergePartials } from 'heddle'
import { expect, test } from 'vitest'
import { attentionReference } from '../support/oracle.ts'
import { propertySettings } from '../support/random-calls.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

console.info(`property tests: HEDDLE_SEED=${propertySettings.seed}`)

const runtime = useRuntime({ workers: 1 })

test('keys cut anywhere, causal or windowed: the merged parts equal the whole', async () => {
  const sizes = {
    M: fc.integer({ min: 1, max: 40 }),
    N: fc.integer({ min: 1, max: 120 }),
    D: fc.integer({ min: 1, max: 20 }),
  }
  const cuts = fc.array(fc.integer({ min: 0, max: 120 }), { maxLength: 5 })
  await fc.assert(
    fc.asyncProperty(
      fc.record({ ...sizes, cuts, causal: fc.boolean(), seed: fc.nat() }),
      async ({ M, N, D, cuts: at, causal, seed }) => {
        const random = new Random(seed)
        const inputs = {
          query: normalTensor(random, [M, D]),
          key: normalTensor(random, [N, D]),
          value: normalTensor(random, [N, D]),
        }
        const queryOffset = random.integer(-5, N)
        const options = { causal, window: { before: random.integer(0, N) }, queryOffset }
        const bounds = [0, ...at.map((cut) => cut % N).sort((a, b) => a - b), N]
        const parts = await Promise.all(
          bounds.slice(1).map(async (to, index) => {
            const from = bounds[index]!
            const range = (data: Float32Array) => ({ data: data.slice(from * D, to * D), shape: [to - from, D] })
            const part = { query: inputs.query, key: range(inputs.key.data), value: range(inputs.value.data) }
            const { output, logSumExp } = await runtime().attention(part, {
              ...options,
              queryOffset: queryOffset - from,
              returnLogSumExp: true,
            })
            return { output, logSumExp: logSumExp }
          }),
        )
        const merged = mergePartials(parts)
        const reference = attentionReference(inputs, options)
        expect(merged.output).toMatchOracle(reference.output)
        expect(merged.logSumExp).toMatchOracle(reference.logSumExp)
      },
    ),
    propertySettings,
  )
})
