import { describe, expect, test } from 'vitest'
import { createWasmBackend } from '../../src/backends/wasm/engine.ts'
import { Random } from '../support/random.ts'
import { bytesOf, filled } from '../support/tensors.ts'
import { inputsOf, peakedInputs, type Sizes } from './attention-cases.ts'
import { expectLane } from './expect-lane.ts'
import { binaries, modules, RESULT_FIELDS, runLane } from './kernel-lane.ts'

const upTo = (most: number, ...more: number[]) => [...Array.from({ length: most }, (_, index) => index + 1), ...more]
const base: Sizes = { M: 11, N: 37, D: 6, Dv: 5 }

/**
 * Groups of 8 rows, tiles of 64, 4 keys at once, blocks of 256 keys, 4 columns at once: up to two of each and a tail.
 */
const remainders: readonly { readonly size: keyof Sizes; readonly values: readonly number[] }[] = [
  { size: 'M', values: upTo(19, 63, 64, 65, 127, 129, 133) },
  { size: 'N', values: upTo(10, 31, 63, 64, 65, 255, 256, 257, 259, 511, 513, 518) },
  { size: 'D', values: upTo(10, 31, 64, 65, 67, 129) },
  { size: 'Dv', values: upTo(10, 31, 64, 65, 67, 129) },
]

describe.each(binaries)('%s', (binary) => {
  describe.each(['chunked', 'standard'] as const)('%s', (mode) => {
    describe.each(remainders)('$size', ({ size, values }) => {
      test.each(values)('%i', async (value) => {
        const sizes = { ...base, [size]: value }
        await expectLane(inputsOf(sizes, value), {}, { binary, mode, weightRows: [0, sizes.M - 1].slice(0, sizes.M) })
      })
    })

    test('blocks of 128, 64 and 32 keys, as head sizes grow', async () => {
      for (const D of [72, 130, 257])
        await expectLane(peakedInputs({ M: 20, N: 140, D, Dv: 9 }, D), {}, { binary, mode })
      await expectLane(peakedInputs({ M: 9, N: 70, D: 3, Dv: 300 }, 3), {}, { binary, mode })
    })
  })

  test('tasks of up to 4 rows: keys and columns in lanes, 16 keys and 32 columns at once', async () => {
    const random = new Random(17)
    for (let round = 0; round < 60; round++) {
      const sizes = {
        M: random.integer(1, 4),
        N: random.integer(1, random.pick([10, 40, 290])),
        D: random.integer(1, random.pick([9, 40])),
        Dv: random.integer(1, random.pick([9, 70])),
      }
      await expectLane(
        inputsOf(sizes, round),
        random.pick([{}, { causal: true, queryOffset: 20 }, { window: { before: 9, after: 2 } }]),
        { binary, weightRows: [0] },
      )
    }
  })

  test('what an earlier task left in the arena changes no bit', async () => {
    const large = {
      query: filled([9, 6], () => 1e4),
      key: filled([300, 6], () => 1e4),
      value: filled([300, 6], () => 1e4),
    }
    for (const M of [1, 4, 9]) {
      for (const N of [1, 3, 5, 12, 13, 14, 15, 30, 47, 270]) {
        const inputs = inputsOf({ M, N, D: 6, Dv: 5 }, N)
        const fresh = await runLane(inputs, {}, { binary, backend: createWasmBackend([modules[binary]]) })
        await runLane(large, {}, { binary })
        const used = await runLane(inputs, {}, { binary })
        for (const field of ['output', ...RESULT_FIELDS] as const)
          expect(bytesOf(used[field]), `${M} × ${N}: ${field}`).toEqual(bytesOf(fresh[field]))
      }
    }
  })

  test('a head size that needs a larger arena, and small ones after it', async () => {
    await expectLane(inputsOf({ M: 70, N: 40, D: 2300, Dv: 2100 }, 4), {}, { binary })
    await expectLane(inputsOf(base, 4), {}, { binary })
  })

  test('more rows than one pass serves: 300 wide, in passes of fewer rows', async () => {
    await expectLane(
      inputsOf({ M: 1100, N: 3, D: 2, Dv: 300 }, 6),
      { causal: true },
      { binary, weightRows: [0, 5, 640, 1099] },
    )
  })
})
