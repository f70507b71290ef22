import { describe, expect, test } from 'vitest'
import { bytesOf } from '../support/tensors.ts'
import { inputsOf, optionCases, peakedInputs } from './attention-cases.ts'
import { expectLane } from './expect-lane.ts'
import { binaries, RESULT_FIELDS, runLane } from './kernel-lane.ts'

const small = { M: 13, N: 30, D: 5, Dv: 6 }
const large = { M: 83, N: 301, D: 9, Dv: 7 }

describe.each(binaries)('%s', (binary) => {
  describe.each([{ sizes: small }, { sizes: large }])('$sizes', ({ sizes }) => {
    const inputs = peakedInputs(sizes, 21)
    const rows = [0, 1, 7, 8, 12, sizes.M - 1].filter((row, at, all) => all.indexOf(row) === at)

    describe.each(optionCases(sizes, 22))('$name', ({ options }) => {
      test.each(['chunked', 'standard'] as const)('%s', async (mode) => {
        await expectLane(inputs, options, { binary, mode, weightRows: rows })
      })

      test('the same bits for any split into tasks', async () => {
        const whole = await runLane(inputs, options, { binary, weightRows: rows })
        for (const first of [1, 5, 8, 12]) {
          const rest = sizes.M - first
          const split = await runLane(inputs, options, {
            binary,
            weightRows: rows,
            split: [first, Math.floor(rest / 2), Math.ceil(rest / 2)],
          })
          for (const field of ['output', 'weights', ...RESULT_FIELDS] as const)
            expect(bytesOf(split[field]), `${field}, ${first}`).toEqual(bytesOf(whole[field]))
        }
      })

      test('the same bits whether or not statistics are asked for', async () => {
        const [plain, full] = [
          await runLane(inputs, options, { binary, statistics: false }),
          await runLane(inputs, options, { binary }),
        ]
        expect(bytesOf(plain.output)).toEqual(bytesOf(full.output))
      })
    })
  })

  test('tiles that no query may see are skipped', async () => {
    const sizes = { M: 512, N: 1024, D: 4, Dv: 4 }
    const inputs = inputsOf(sizes, 5)
    const count = async (options: object) => {
      const [result] = (await runLane(inputs, options, { binary, statistics: false })).tiles
      return [result?.tiles, result?.skippedTiles]
    }
    expect(await count({})).toEqual([32, 0])
    expect(await count({ causal: true })).toEqual([12, 20])
    expect(await count({ keyLengths: Int32Array.of(256) })).toEqual([8, 24])
    expect(await count({ mask: { data: new Uint8Array(1024).fill(1, 300, 310), shape: [1, 1024] } })).toEqual([8, 24])
  })
})
