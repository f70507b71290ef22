import { CausalLanguageModel } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { modelFixtures } from '../support/fixtures.ts'
import { useRuntime } from '../support/runtimes.ts'
import { worst } from './worst.ts'

/** float32 on both sides, sums in another order; logits up to 4. */
const TOLERANCE = 1e-5

const runtimes = {
  'on the calling thread': { runtime: useRuntime({ workers: 0 }), chunks: {} },
  'on two workers': { runtime: useRuntime({ workers: 2 }), chunks: { chunkSize: 4 } },
  'on two workers without shared memory': {
    runtime: useRuntime({ workers: 2, sharedMemory: 'never' }),
    chunks: { chunkSize: 4 },
  },
}

describe.each(Object.entries(runtimes))('a causal language model %s', (_where, { runtime, chunks }) => {
  describe.each(modelFixtures().map((fixture) => [fixture.name, fixture] as const))(
    '%s',
    (_name, { settings, stateDict, tokens, output, exactOutput, greedy }) => {
      const { maxLength, ...others } = settings
      const model = new CausalLanguageModel({ ...others, ...(settings.positions === 'learned' ? { maxLength } : {}) })
      model.loadStateDict(stateDict)

      it("gives PyTorch's logits", async () => {
        const logits = (await model.forward(tokens, { runtime: runtime(), ...chunks })).output
        expect(logits.shape).toEqual(output.shape)
        expect(worst(logits.data, output.data)).toBeLessThan(TOLERANCE)
        expect(worst(logits.data, exactOutput.data)).toBeLessThan(TOLERANCE)
      })

      it('continues tokens as PyTorch does, which has no cache', async () => {
        const { data, shape } = await model.generate(tokens, {
          runtime: runtime(),
          maxNewTokens: maxLength - tokens.shape[1]!,
        })
        expect(shape).toEqual(greedy.shape)
        expect([...data]).toEqual([...greedy.data])
      })
    },
  )
})
