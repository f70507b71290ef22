import { readFileSync } from 'node:fs'
import { FormatError, OptionError, type Tensor } from 'heddle'
import { loadModel } from 'heddle/models'
import { CausalLanguageModel, readSafetensors, type CausalLanguageModelOptions } from 'heddle/nn'
import { crossEntropy, lossAndGradients } from 'heddle/train'
import { describe, expect, test } from 'vitest'
import { expectedCases, folderOf, tokensOf, withConfig } from '../models/support/hub-folders.ts'
import { useRuntime } from '../support/runtimes.ts'
import { worst } from './worst.ts'

const runtime = useRuntime({ workers: 2 })
const SIZES = { vocabulary: 37, modelDim: 24, heads: 2, layers: 1, seed: 3 }
const tokens: Tensor<Int32Array> = { data: Int32Array.from({ length: 22 }, (_, at) => (at * 5) % 37), shape: [2, 11] }
const modelWith = (options: Partial<CausalLanguageModelOptions>) => new CausalLanguageModel({ ...SIZES, ...options })
const logitsOf = async (model: CausalLanguageModel) => (await model.forward(tokens, { runtime: runtime() })).output

const rules = {
  'a scale': { options: { logitScale: 2.5 }, f: (x: number) => 2.5 * x, slope: () => 2.5 },
  'a cap': {
    options: { logitSoftcap: 0.4 },
    f: (x: number) => 0.4 * Math.tanh(x / 0.4),
    slope: (x: number) => 1 / Math.cosh(x / 0.4) ** 2,
  },
  both: {
    options: { logitScale: 3, logitSoftcap: 0.7 },
    f: (x: number) => 0.7 * Math.tanh((3 * x) / 0.7),
    slope: (x: number) => 3 / Math.cosh((3 * x) / 0.7) ** 2,
  },
}

describe.each(Object.entries(rules))('%s', (_name, { options, f, slope }) => {
  test('of the plain logits, for logits, loss and gradients', async () => {
    const [plain, shaped] = [modelWith({}), modelWith(options)]
    const products = await logitsOf(plain)
    const logits = await logitsOf(shaped)
    // The rule must matter here: some logits lie where the cap bends.
    expect(worst(logits.data, products.data)).toBeGreaterThan(0.05)
    expect(worst(logits.data, products.data.map(f))).toBeLessThan(1e-6)

    const targets: Tensor<Int32Array> = { data: tokens.data.map((token) => (token * 3 + 1) % 37), shape: [2, 11] }
    const call = { loss: crossEntropy(), runtime: runtime() }
    const { loss, gradients } = await lossAndGradients(shaped, { tokens, targets }, call)
    const dProducts = new Float32Array(22 * 37)
    let expected = 0
    targets.data.forEach((target, row) => {
      const each = Array.from(products.data.subarray(row * 37, (row + 1) * 37), f)
      const total = each.reduce((sum, value) => sum + Math.exp(value), 0)
      expected += (Math.log(total) - each[target]!) / 22
      each.forEach((value, v) => {
        const dLogit = (Math.exp(value) / total - (v === target ? 1 : 0)) / 22
        dProducts[row * 37 + v] = dLogit * slope(products.data[row * 37 + v]!)
      })
    })
    expect(Math.abs(loss - expected)).toBeLessThan(1e-6)
    const chain = await plain.backward(tokens, { data: dProducts, shape: [2, 11, 37] }, { runtime: runtime() })
    for (const [name, gradient] of gradients)
      expect(worst(gradient.data, chain.gradients.get(name)!.data), name).toBeLessThan(2e-6)
  })

  test('while it decodes', async () => {
    const shaped = modelWith(options)
    const seen: number[][] = []
    const sample = (logits: Float32Array): number => {
      seen.push([...logits])
      return 7
    }
    const prompt = { data: tokens.data.slice(0, 5), shape: [5] }
    await shaped.generate(prompt, { maxNewTokens: 1, sample, runtime: runtime() })
    expect(worst(Float32Array.from(seen[0]!), (await logitsOf(shaped)).data.subarray(4 * 37, 5 * 37))).toBeLessThan(
      1e-6,
    )
  })
})

test.each([
  ['logitScale', 0],
  ['logitScale', Infinity],
  ['logitSoftcap', -30],
  ['logitSoftcap', '30'],
])('option %s %s is refused by name', (name, value) => {
  expect(() => modelWith({ [name]: value })).toThrow(OptionError)
  expect(() => modelWith({ [name]: value })).toThrow(name)
})

test('logits, loss and gradients of a decoder whose config has both are PyTorch’s', async () => {
  const { languageModel } = await loadModel(folderOf('llama-logits'))
  const { ids, logits } = expectedCases('llama-logits').at(-1)!
  const { output } = await languageModel!.forward(tokensOf(ids), { runtime: runtime() })
  expect(worst(output.data, logits!.flat())).toBeLessThan(1e-5)
  const bytes = Uint8Array.from(readFileSync(`${folderOf('llama-logits')}/loss.safetensors`))
  const { tokens: given, targets, loss: expected, ...gradients } = (await readSafetensors(bytes)).tensors
  const batch = { tokens: tokensOf([...given!.data]), targets: tokensOf([...targets!.data]) }
  const own = await lossAndGradients(languageModel!, batch, { loss: crossEntropy(), runtime: runtime() })
  expect(Math.abs(own.loss - expected!.data[0]!)).toBeLessThan(1e-6)
  // Float32 sums over 23 rows, in another order than float64's; the largest elements are about 0.1.
  const names = Object.keys(gradients)
  expect(own.gradients.size).toBe(names.length)
  for (const name of names)
    expect(worst(own.gradients.get(name.replace(/^model\./, ''))!.data, gradients[name]!.data), name).toBeLessThan(1e-6)
})

describe('config.json', () => {
  test('logit_scale and final_logit_softcapping shape the logits of a decoder', async () => {
    const values = { logit_scale: 0.5, final_logit_softcapping: 0.6 }
    const model = await loadModel(withConfig('llama-linear', values))
    const { ids, logits } = expectedCases('llama-linear')[1]!
    const { output } = await model.languageModel!.forward(tokensOf(ids), { runtime: runtime() })
    const shaped = logits!.flat().map((x) => 0.6 * Math.tanh((0.5 * x) / 0.6))
    expect(worst(output.data, shaped)).toBeLessThan(1e-5)
  })

  test.each([
    ['llama', { final_logit_softcapping: 0 }, 'final_logit_softcapping'],
    ['llama', { logit_scale: 'large' }, 'logit_scale'],
    ['llama', { attn_logit_softcapping: 50 }, 'attn_logit_softcapping 50 (not known)'],
    ['llama', { logits_scaling: 8 }, 'logits_scaling 8 (not known)'],
    ['bert', { final_logit_softcapping: 30 }, 'final_logit_softcapping 30 (not known)'],
    ['gpt2', { logit_scale: 2 }, 'logit_scale 2 (not known)'],
  ])('%s with %o is refused by name', async (folder, values, message) => {
    const attempt = loadModel(withConfig(folder, values))
    await expect(attempt).rejects.toThrow(FormatError)
    await expect(attempt).rejects.toThrow(message)
  })

  test('one that is not there does nothing', async () => {
    const { architecture } = (await loadModel(folderOf('llama'))).plan
    expect(architecture.logits).toEqual({})
  })
})
