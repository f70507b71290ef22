import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createWebGpuBackend, type WebGpuBackend } from '../../src/backends/webgpu/engine.ts'
import { GpuDevice } from '../../src/backends/webgpu/gpu-device.ts'
import { packHalf } from '../../src/backends/webgpu/half.ts'
import { chooseTile, choiceOf, measureTiles } from '../../src/backends/webgpu/measure-tiles.ts'
import { offeredTile, TILE_NAMES, tileFor } from '../../src/backends/webgpu/tile-choice.ts'
import { gpuCacheBytes } from '../../src/plan/gpu-memory.ts'
import { webgpuTolerance } from '../support/error-rule.ts'
import { attentionReference } from '../support/oracle.ts'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { attentionCases, inputsOf, maxIndexAgrees } from './support/cases.ts'
import { skipReason, testGpu } from './support/software-gpu.ts'
import { runCall } from './support/tasks.ts'

const found = await testGpu()
const score = {
  headQuads: 16,
  mask: false,
  bias: false,
  segments: false,
  softcap: false,
  alibi: false,
  halfKeys: false,
}
const shape64 = { score, valueQuads: 16 }

const heavy = process.env['HEDDLE_HEAVY'] === '1'
/**
 * A software adapter takes a tenth of a second or more to compile each kernel: every tenth case for each variant,
 * another tenth each, and every eighth for what they share.
 */
const casesOf = (variant: number) =>
  heavy ? attentionCases : attentionCases.filter((_, index) => index % 10 === variant % 10)
const sharedCases = heavy ? attentionCases : attentionCases.filter((_, index) => index % 8 === 1)

/** The nearest float16, ties to even, by arithmetic in float64. */
function nearestHalf(x: number): number {
  if (x === 0) return x
  const step = 2 ** (Math.max(Math.floor(Math.log2(Math.abs(x))), -14) - 10)
  const [below, rest] = [Math.floor(x / step), x / step - Math.floor(x / step)]
  return (rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below) * step
}

describe.skipIf(skipReason(found) !== undefined)('variants of the attention kernel', { timeout: 60_000 }, () => {
  describe.each(TILE_NAMES.filter((name) => name !== 'base').map((name, at) => ({ name, at })))(
    '$name',
    ({ name, at }) => {
      let backend: WebGpuBackend

      beforeAll(async () => {
        backend = await createWebGpuBackend(found.gpu, { tile: name })
      })

      afterAll(() => backend.dispose())

      test('it is another kernel than the base here', () => {
        expect(tileFor(name, backend.gpu, shape64)).not.toEqual(tileFor('base', backend.gpu, shape64))
      })

      test.each(casesOf(at))(
        '$name equals the oracle, with log-sum-exp and statistics',
        async ({ shape, options, chunkRows }) => {
          const inputs = inputsOf(shape)
          const reference = attentionReference(inputs, options)
          const result = await runCall(backend, inputs, options, chunkRows === undefined ? {} : { chunkRows })
          for (const each of ['output', 'logSumExp', 'entropy', 'maxWeight', 'meanDistance'] as const)
            expect(result[each], each).toMatchOracle(reference[each], webgpuTolerance)
          expect(maxIndexAgrees(reference, result.maxIndex)).toBe(true)
        },
      )

      test('every remainder of rows and keys past two tiles', async () => {
        const random = new Random(7)
        const widths = [
          [3, 5],
          [36, 72],
          [65, 3],
        ] as const
        for (const [M, N] of [
          [1, 1],
          [31, 33],
          [63, 65],
          [64, 32],
          [65, 70],
          [127, 31],
          [129, 129],
          [1, 300],
        ] as const) {
          for (const [D, Dv] of heavy ? widths : [widths[at % 3]!]) {
            const inputs = {
              query: normalTensor(random, [M, D]),
              key: normalTensor(random, [N, D]),
              value: normalTensor(random, [N, Dv]),
            }
            const result = await runCall(backend, inputs, {}, { statistics: false })
            expect(result.output, `M ${M}, N ${N}, D ${D}, Dv ${Dv}`).toMatchOracle(
              attentionReference(inputs).output,
              webgpuTolerance,
            )
          }
        }
      })
    },
  )

  describe('the choice', () => {
    let gpu: GpuDevice | undefined
    afterEach(() => {
      gpu?.dispose()
      gpu = undefined
    })

    test('offers only what the limits allow, and says why not', async () => {
      gpu = await GpuDevice.open(found.gpu, { limits: { maxComputeWorkgroupStorageSize: 16384 } })
      expect(offeredTile('base', gpu, shape64)).toEqual({ rowsEach: 4, together: 1 })
      expect(offeredTile('wide', gpu, shape64)).toMatch(
        /it needs 25088 bytes of workgroup memory, the device has 16384/,
      )
      expect(
        offeredTile(
          'wide',
          { ...gpu, limits: { ...gpu.limits, maxComputeWorkgroupStorageSize: 32768 } },
          { score, valueQuads: 64 },
        ),
      ).toMatch(/too wide/)
    })

    test('uses as many neighbours as any subgroup has, and no subgroups where their size is not known', () => {
      const limits = { maxComputeWorkgroupStorageSize: 32768 } as GpuDevice['limits']
      const together = (smallestSubgroup: number) =>
        tileFor('subgroups', { limits, smallestSubgroup }, shape64).together
      expect([0, 1, 2, 4, 6, 8, 16, 32, 128].map(together)).toEqual([1, 1, 2, 4, 4, 8, 8, 8, 8])
    })

    test('is the base kernel on a software adapter, unless another is asked for', async () => {
      gpu = await GpuDevice.open(found.gpu)
      expect(await chooseTile(gpu)).toEqual({ tile: 'base', reason: 'the adapter computes in software', times: [] })
      expect(await chooseTile(gpu, 'wide')).toMatchObject({ tile: 'wide', reason: 'asked for' })
    })

    test('measures each variant against the base kernel’s answer, once for an adapter', async () => {
      gpu = await GpuDevice.open(found.gpu)
      const times = await measureTiles(gpu)
      expect(times.map(({ tile }) => tile)).toEqual(TILE_NAMES)
      for (const { tile, milliseconds, reason } of times) expect(milliseconds, `${tile}: ${reason}`).toBeGreaterThan(0)
      expect(gpu.residentBytes).toBe(0)
    })

    test('is measured once for an adapter, and again where measuring failed', async () => {
      const device = { fallback: false, name: 'a GPU', smallestSubgroup: 4, limits: {} } as unknown as GpuDevice
      const times = [
        { tile: 'base', milliseconds: 2 },
        { tile: 'wide', milliseconds: 1 },
      ] as const
      let measured = 0
      const measure = async () => {
        if (++measured === 1) throw new Error('busy')
        return await Promise.resolve([...times])
      }
      await expect(chooseTile(device, 'auto', measure)).rejects.toThrow('busy')
      const first = chooseTile(device, 'auto', measure)
      expect(await first).toMatchObject({ tile: 'wide', times })
      expect(chooseTile({ ...device, fallback: false } as GpuDevice, 'auto', measure)).toBe(first)
      expect(await chooseTile({ ...device, name: 'another' } as GpuDevice, 'auto', measure)).toMatchObject({ times })
      expect(measured).toBe(3)
      expect(await chooseTile(device, 'base', measure)).toMatchObject({ tile: 'base', times: [] })
    })

    test('is what a lane runs', async () => {
      const backend = await createWebGpuBackend(found.gpu)
      expect(backend.tile).toEqual({ tile: 'base', reason: 'the adapter computes in software', times: [] })
      backend.dispose()
    })

    test.each([
      [
        [
          ['base', 2],
          ['wide', 1],
          ['subgroups', 1.5],
        ],
        'wide',
        /2\.00 times as fast/,
      ],
      [
        [
          ['base', 2],
          ['wide', 1.99],
          ['subgroups', 3],
        ],
        'base',
        /only 1\.01 times/,
      ],
      [
        [
          ['base', 2],
          ['wide', null],
          ['subgroups', 3],
        ],
        'base',
        /no other variant/,
      ],
    ] as const)('of %j is %s', (times, tile, reason) => {
      const choice = choiceOf(times.map(([name, milliseconds]) => ({ tile: name, milliseconds })))
      expect(choice).toMatchObject({ tile, reason: expect.stringMatching(reason) as string })
    })
  })

  describe('float16 storage of keys and values', () => {
    let backend: WebGpuBackend

    beforeAll(async () => {
      backend = await createWebGpuBackend(found.gpu, { storage: 'float16' })
    })

    afterAll(() => backend.dispose())

    test('rounds to nearest, ties to even, within 2⁻¹¹', () => {
      const random = new Random(3)
      const edges = [
        0,
        -0,
        1,
        65504,
        -65504,
        2 ** -14,
        2 ** -24,
        2 ** -25,
        3 * 2 ** -26,
        1 + 2 ** -11,
        1 + 3 * 2 ** -11,
        2047.5,
        2 ** -14 - 2 ** -25,
        1e-9,
        0.1,
      ]
      const values = Float32Array.from(
        { length: 4096 },
        (_, at) => edges[at] ?? random.normal() * 2 ** random.integer(-26, 13),
      )
      const packed = new Uint32Array(2048)
      packHalf(values, packed)
      values.forEach((x, at) => {
        const bits = ((packed[at >> 1] as number) >>> (at % 2 === 0 ? 0 : 16)) & 0xffff
        const exponent = (bits >> 10) & 31
        const mantissa = exponent === 0 ? (bits & 1023) * 2 ** -24 : (1024 + (bits & 1023)) * 2 ** (exponent - 25)
        const half = (bits & 0x8000) === 0 ? mantissa : -mantissa
        expect(half + 0, String(x)).toBe(nearestHalf(x) + 0)
        expect(Math.abs(half - x)).toBeLessThanOrEqual(Math.max(2 ** -11 * Math.abs(x), 2 ** -25))
      })
    })

    // The oracle sees the rounded keys and values: nothing else may be rounded.
    test.each(sharedCases)('$name', async ({ shape, options, chunkRows }) => {
      const inputs = inputsOf(shape)
      const rounded = {
        query: inputs.query,
        key: { ...inputs.key, data: inputs.key.data.map(nearestHalf) },
        value: { ...inputs.value, data: inputs.value.data.map(nearestHalf) },
      }
      const reference = attentionReference(rounded, options)
      const result = await runCall(backend, inputs, options, {
        standard: true,
        ...(chunkRows === undefined ? {} : { chunkRows }),
      })
      for (const each of ['output', 'logSumExp', 'weights', 'entropy'] as const)
        expect(result[each], each).toMatchOracle(reference[each], webgpuTolerance)
    })

    test('values past its range stay float32, and that is told', async () => {
      const inputs = inputsOf({ B: 1, H: 1, M: 40, N: 50, D: 8 })
      inputs.value.data[9] = 7e4
      const rounded = { ...inputs, key: { ...inputs.key, data: inputs.key.data.map(nearestHalf) } }
      expect(backend.takeFallbacks?.()).toEqual([])
      const result = await runCall(backend, inputs)
      expect(result.output).toMatchOracle(attentionReference(rounded).output, webgpuTolerance)
      expect(backend.takeFallbacks?.()).toMatchObject([
        { what: expect.stringMatching(/float32 in place of float16/) as string },
      ])
    })

    test('takes half of the bytes', () => {
      const sizes = { rows: 64, keys: 640, headSize: 64, valueSize: 64 }
      const bytes = (half: boolean) =>
        gpuCacheBytes({ largestBufferBytes: 2 ** 27, workgroupsPerDimension: 65535, software: true, half }, sizes, 8)
      expect(bytes(true)).toBe(bytes(false) / 2)
    })
  })
})
