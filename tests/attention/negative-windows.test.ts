import { describe, test } from 'vitest'
import { expectGradients } from '../support/expect-backward.ts'
import { expectOracle } from '../support/expect-attention.ts'
import { Random } from '../support/random.ts'
import { useRuntime } from '../support/runtimes.ts'
import { normalTensor } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 2 })

/** Ends on one side of the query's own position, near it and beyond a key block, and windows that hold no key. */
const windows = [
  { before: 1, after: -1 },
  { before: -1, after: 1 },
  { before: 40, after: -17 },
  { before: -17 },
  { after: -270 },
  { before: 2, after: -3 },
  { before: -400 },
]

describe.each([
  { title: 'several blocks', B: 1, H: 2, M: 75, N: 283 },
  { title: 'few rows', B: 2, H: 2, M: 3, N: 290 },
])('$title', ({ B, H, M, N }) => {
  const inputs = (random: Random) => ({
    query: normalTensor(random, [B, H, M, 16]),
    key: normalTensor(random, [B, H, N, 16]),
    value: normalTensor(random, [B, H, N, 12]),
  })
  const options = (window: object, causal: boolean) => ({
    window,
    causal,
    queryOffset: Int32Array.from({ length: B }, (_, b) => 3 + 200 * b),
    chunkSize: 32,
  })

  test.each(
    windows.flatMap((window) => [
      { window, causal: false },
      { window, causal: true },
    ]),
  )('$window, causal: $causal equals the oracle in both modes', async ({ window, causal }) => {
    await expectOracle(runtime(), inputs(new Random(31)), options(window, causal))
  })

  test.each(windows.map((window) => ({ window })))('gradients through $window equal the oracle', async ({ window }) => {
    await expectGradients(runtime(), inputs(new Random(32)), options(window, false))
  })
})
