import { describe, test } from 'vitest'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { inputsOf } from './attention-cases.ts'
import { expectBackwardLane, expectTransposedLane } from './backward-lane.ts'
import { binaries } from './kernel-lane.ts'

describe.each(binaries)('%s', (binary) => {
  // Every remainder of the group of 8 rows, the 4 keys and the panel of 8 columns.
  const sizes = [
    ...Array.from({ length: 18 }, (_, at) => ({ M: at + 1, N: 11, D: 8, Dv: 8 })),
    ...Array.from({ length: 18 }, (_, at) => ({ M: 9, N: at + 1, D: 8, Dv: 8 })),
    ...Array.from({ length: 18 }, (_, at) => ({ M: 9, N: 11, D: at + 1, Dv: 18 - at })),
    { M: 64, N: 256, D: 64, Dv: 64 },
    { M: 65, N: 257, D: 64, Dv: 64 },
    { M: 63, N: 255, D: 64, Dv: 32 },
    { M: 70, N: 131, D: 128, Dv: 128 },
    { M: 67, N: 66, D: 40, Dv: 160 },
    { M: 66, N: 70, D: 257, Dv: 3 },
    { M: 20, N: 45, D: 3, Dv: 300 },
    // in a larger arena than lanes start with, and in that again
    { M: 5, N: 9, D: 1600, Dv: 8 },
    { M: 1, N: 1, D: 1, Dv: 1 },
  ]

  test.each(sizes)('gradients, M $M, N $N, D $D, Dv $Dv', async ({ M, N, D, Dv }) => {
    const inputs = inputsOf({ M, N, D, Dv }, 51)
    const dOutput = normalTensor(new Random(52), [M, Dv])
    await expectBackwardLane(inputs, dOutput, {}, { binary })
    await expectBackwardLane(inputs, dOutput, { causal: true, queryOffset: Math.max(0, N - M) }, { binary })
  })

  test.each(sizes)('Pᵀ·X, M $M, N $N, D $D, C $Dv', async ({ M, N, D, Dv }) => {
    const inputs = inputsOf({ M, N, D, Dv: 1 }, 53)
    await expectTransposedLane(
      inputs,
      normalTensor(new Random(54), [M, Dv]),
      { causal: true, queryOffset: Math.max(0, N - M) },
      { binary },
    )
  })
})
