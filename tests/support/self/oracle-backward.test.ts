import { expect, test } from 'vitest'
import { attentionFixtures } from '../fixtures.ts'
import { backwardReference } from '../oracle-backward.ts'

test.each(attentionFixtures())('gradients equal those of PyTorch’s autograd: $name', ({ inputs, options, dOutput, gradients }) => {
  const reference = backwardReference(inputs, dOutput, options)
  expect(Object.keys(reference).sort()).toEqual(Object.keys(gradients).sort())
  for (const [name, { exact, plain, shape }] of Object.entries(reference)) {
    const expected = gradients[name]!
    expect(shape, name).toEqual(expected.shape)
    const worst = exact.reduce((most: number, x: number, at: number) => Math.max(most, Math.abs(x - expected.data[at]!)), 0)
    expect(worst, name).toBeLessThan(1e-13) // float64, other order of sums
    const rounded = plain.reduce((most: number, x: number, at: number) => Math.max(most, Math.abs(x - expected.data[at]!)), 0)
    expect(rounded, name).toBeLessThan(1e-5)
  }
})
