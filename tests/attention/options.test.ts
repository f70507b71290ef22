import { describe, test } from 'vitest'
import { expectOracle } from '../support/expect-attention.ts'
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

// More than one query block and key block of a kernel, each with a tail.
const large: Dims = { B: 1, H: 2, M: 75, N: 283 }
const batches: Dims = { B: 3, H: 2, M: 13, N: 18 }

describe.each([
  { title: 'one batch, several blocks', dims: large, D: 16, Dv: 12 },
  { title: 'three batches, one block', dims: batches, D: 7, Dv: 9 },
])('$title', ({ dims, D, Dv }) => {
  test.each([...singleCases, fullCase])('$name equals the oracle in both modes', async ({ options }) => {
    const random = new Random(11)
    await expectOracle(runtime(), inputsFor(random, dims, D, Dv), { ...options(random, dims), chunkSize: 32 })
  })
})

test.each(pairCases)('$name equals the oracle in both modes', async ({ options }) => {
  const random = new Random(12)
  const dims = { B: 2, H: 2, M: 21, N: 70 }
  await expectOracle(runtime(), inputsFor(random, dims, 8, 8), { ...options(random, dims), chunkSize: 8 })
})
