import { describe, expect, it } from 'vitest'
import { crossEntropy } from '../../../src/train/losses.ts'
import { fixtures } from './fixtures.ts'
import { smoothedCrossEntropy, tinyBatch, tinyGradients, TinyModel } from './tiny-model.ts'

describe('the model that stands in where a test needs gradients', () => {
  it.each(fixtures.losses)(
    'has PyTorch’s loss: smoothing $labelSmoothing',
    ({ labelSmoothing, logits, targets, value, gradient }) => {
      const counted = targets.filter((target) => target >= 0).length
      let loss = 0
      for (const [row, target] of targets.entries()) {
        const { loss: own, dLogits } = smoothedCrossEntropy(logits.slice(row * 7, row * 7 + 7), target, labelSmoothing)
        if (target >= 0) loss += own / counted
        for (const [item, slope] of dLogits.entries())
          expect(target < 0 ? 0 : slope / counted).toBeCloseTo(gradient[row * 7 + item] ?? NaN, 6)
      }
      expect(loss).toBeCloseTo(value, 6)
    },
  )

  it('has the gradients that differences have', async () => {
    const model = new TinyModel(6, 4, 0.3)
    model.train()
    const options = { loss: crossEntropy({ labelSmoothing: 0.1 }), seed: 3 }
    const batch = tinyBatch(0)
    const { gradients } = await tinyGradients()(model, batch, options)
    for (const [name, parameter] of model.namedParameters()) {
      for (let element = 0; element < parameter.data.length; element++) {
        const before = parameter.data[element] ?? 0
        const lossAt = async (value: number): Promise<number> => {
          parameter.data[element] = value
          return (await tinyGradients()(model, batch, options)).loss
        }
        const slope = ((await lossAt(before + 2 ** -8)) - (await lossAt(before - 2 ** -8))) / 2 ** -7
        parameter.data[element] = before
        expect(slope).toBeCloseTo(gradients.get(name)?.data[element] ?? NaN, 4)
      }
    }
  })
})
