import { describe, expect, test } from 'vitest'
import { expectGradients, expectTransposed } from '../support/expect-backward.ts'
import { forwardFor } from '../support/gradient-checks.ts'
import { attentionFixtures } from '../support/fixtures.ts'
import { fullCase, pairCases, singleCases, type Dims } from '../support/option-cases.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })

function inputsFor(random: Random, { B, H, M, N }: Dims, D: number, Dv: number) {
  return {
    query: normalTensor(random, [B, H, M, D]),
    key: normalTensor(random, [B, H, N, D]),
    value: normalTensor(random, [B, H, N, Dv]),
  }
}

describe.each([
  // More than one tile of rows and block of keys, each with a rest.
  { title: 'one batch, several blocks', dims: { B: 1, H: 2, M: 75, N: 283 }, D: 16, Dv: 12 },
  { title: 'three batches, one block', dims: { B: 3, H: 2, M: 13, N: 18 }, D: 7, Dv: 9 },
])('$title', ({ dims, D, Dv }) => {
  test.each([...singleCases, fullCase])('$name: gradients equal the oracle', async ({ options }) => {
    const random = new Random(11)
    await expectGradients(runtime(), inputsFor(random, dims, D, Dv), { ...options(random, dims), chunkSize: 64 })
  })

  test.each([...singleCases, fullCase])('$name: Pᵀ·X equals the oracle', async ({ options }) => {
    const random = new Random(12)
    const { B, H, M } = dims
    await expectTransposed(
      runtime(),
      inputsFor(random, dims, D, Dv),
      normalTensor(random, [B, H, M, 11]),
      options(random, dims),
    )
    await expectTransposed(runtime(), inputsFor(random, dims, D, Dv), undefined, options(random, dims))
  })
})

test.each(pairCases)('$name: gradients equal the oracle', async ({ options }) => {
  const random = new Random(13)
  const dims = { B: 2, H: 2, M: 21, N: 70 }
  await expectGradients(runtime(), inputsFor(random, dims, 8, 8), options(random, dims))
})

test.each(attentionFixtures())('PyTorch’s autograd: $name', async ({ inputs, options, dOutput, gradients }) => {
  const call = await forwardFor(runtime(), inputs, options)
  const result = await runtime().attentionBackward({ ...call, dOutput }, options)
  const { dQuery, dKey, dValue, dBias, dAlibiSlopes } = result
  const slopes = dAlibiSlopes && { data: dAlibiSlopes, shape: [dAlibiSlopes.length] }
  const actual: Record<string, { data: Float32Array; shape: readonly number[] } | undefined> = {
    dQuery,
    dKey,
    dValue,
    dBias,
    dAlibiSlopes: slopes,
  }
  for (const [name, expected] of Object.entries(gradients)) {
    expect(actual[name]?.shape, name).toEqual(expected.shape)
    actual[name]?.data.forEach((x, at) =>
      expect(Math.abs(x - expected.data[at]!), `${name}[${at}]`).toBeLessThan(
        1e-5 + 1e-4 * Math.abs(expected.data[at]!),
      ),
    )
  }
})
