import { NumericError, tensor } from 'heddle'
import { CausalLanguageModel } from 'heddle/nn'
import { describe, expect, it } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'

const runtime = useRuntime({ workers: 0 })
const prompt = tensor(Int32Array.of(1, 2, 3, 0, 4, 2), [2, 3])

/** A model whose row of the head for token 3 is all `weight`; its last norm gives (1, 0). */
function modelWith(weight: number): CausalLanguageModel {
  const model = new CausalLanguageModel({
    vocabulary: 5,
    modelDim: 2,
    heads: 1,
    feedForwardDim: 1,
    layers: 1,
    tieWeights: false,
  })
  model.encoder.finalNorm!.weight.data.fill(0)
  model.encoder.finalNorm!.bias!.data.set([1, 1])
  model.head!.weight.data.fill(0)
  model.head!.weight.data.fill(weight, 6, 8)
  for (const parameter of model.parameters()) parameter.touch()
  return model
}

describe.each([{}, { temperature: 1, seed: 3 }, { temperature: 1, seed: 3, topK: 1 }])(
  'generate with %o',
  (options) => {
    it.each([
      [NaN, /got NaN for token 3 at position 3 of batch 0/],
      [Infinity, /got Infinity for token 3/],
      [3e38, /got Infinity for token 3/],
    ])('refuses a logit out of %f', async (weight, message) => {
      const tokens: number[] = []
      const running = modelWith(weight).generate(prompt, {
        runtime: runtime(),
        maxNewTokens: 2,
        ...options,
        onToken: ({ token }) => tokens.push(token),
      })
      await expect(running).rejects.toThrow(NumericError)
      await expect(running).rejects.toThrow(message)
      await expect(running).rejects.toMatchObject({ details: { batch: 0, position: 3, token: 3 } })
      expect(tokens).toEqual([])
    })

    it('never takes a token whose logit is −∞', async () => {
      const { data } = await modelWith(-Infinity).generate(prompt, { runtime: runtime(), maxNewTokens: 30, ...options })
      for (const row of [data.subarray(3, 33), data.subarray(36)]) expect(row.includes(3)).toBe(false)
    })

    it('refuses a row that is all −∞', async () => {
      const model = modelWith(-Infinity)
      model.head!.weight.data.fill(-Infinity)
      model.head!.weight.touch()
      await expect(model.generate(prompt, { runtime: runtime(), maxNewTokens: 2, ...options })).rejects.toThrow(
        /got -Infinity for token 0/,
      )
    })
  },
)
