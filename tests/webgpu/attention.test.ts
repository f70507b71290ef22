import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createWebGpuBackend, type WebGpuBackend } from '../../src/backends/webgpu/engine.ts'
import { webgpuTolerance } from '../support/error-rule.ts'
import { attentionReference } from '../support/oracle.ts'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { attentionCases, inputsOf, maxIndexAgrees } from './support/cases.ts'
import { skipReason, testGpu } from './support/software-gpu.ts'
import { runCall } from './support/tasks.ts'

const found = await testGpu()

describe.skipIf(skipReason(found) !== undefined)('attention in WGSL', { timeout: 60_000 }, () => {
  let backend: WebGpuBackend

  beforeAll(async () => {
    backend = await createWebGpuBackend(found.gpu)
  })

  afterAll(() => backend.dispose())

  test.each(attentionCases)(
    '$name equals the oracle, with log-sum-exp and statistics',
    async ({ shape, options, chunkRows }) => {
      const inputs = inputsOf(shape)
      const reference = attentionReference(inputs, options)
      const result = await runCall(backend, inputs, options, chunkRows === undefined ? {} : { chunkRows })
      expect(result.output).toMatchOracle(reference.output, webgpuTolerance)
      expect(result.logSumExp).toMatchOracle(reference.logSumExp, webgpuTolerance)
      expect(result.entropy).toMatchOracle(reference.entropy, webgpuTolerance)
      expect(result.maxWeight).toMatchOracle(reference.maxWeight, webgpuTolerance)
      expect(result.meanDistance).toMatchOracle(reference.meanDistance, webgpuTolerance)
      expect(maxIndexAgrees(reference, result.maxIndex)).toBe(true)
    },
  )

  // Its kernels have options in common with those above, and combinations.test.ts asks for weights with all of them.
  const heavy = process.env['HEDDLE_HEAVY'] === '1'
  const weightCases = attentionCases.filter((_, index) => heavy || index % 3 === 0)
  test.each(weightCases)('$name: the whole weight matrix', async ({ shape, options, chunkRows }) => {
    const inputs = inputsOf(shape)
    const reference = attentionReference(inputs, options)
    const result = await runCall(backend, inputs, options, {
      standard: true,
      ...(chunkRows === undefined ? {} : { chunkRows }),
    })
    expect(result.weights).toMatchOracle(reference.weights, webgpuTolerance)
    expect(result.output).toMatchOracle(reference.output, webgpuTolerance)
  })

  test('weights of chosen rows alone', async () => {
    const inputs = inputsOf({ B: 1, H: 2, M: 70, N: 90, D: 16 })
    const options = { causal: true, queryOffset: 20, window: { before: 40 } }
    const reference = attentionReference(inputs, options)
    const weightRows = [0, 5, 33, 34, 69]
    const { weights } = await runCall(backend, inputs, options, { weightRows, chunkRows: 33, statistics: false })
    const chosen = [0, 1].flatMap((h) =>
      weightRows.flatMap((row) => [...reference.weights.exact.subarray((h * 70 + row) * 90, (h * 70 + row + 1) * 90)]),
    )
    expect(weights).toMatchOracle(
      { exact: Float64Array.from(chosen), plain: Float64Array.from(chosen), shape: [weights.length] },
      webgpuTolerance,
    )
  })

  test('every remainder of rows, keys and head size past two tiles', async () => {
    const random = new Random(7)
    for (const [M, N] of [
      [1, 1],
      [2, 3],
      [31, 33],
      [32, 32],
      [33, 31],
      [63, 65],
      [65, 70],
      [1, 129],
    ] as const) {
      for (const [D, Dv] of [
        [1, 1],
        [3, 5],
        [36, 72],
        [65, 3],
      ] as const) {
        const inputs = {
          query: normalTensor(random, [M, D]),
          key: normalTensor(random, [N, D]),
          value: normalTensor(random, [N, Dv]),
        }
        const result = await runCall(backend, inputs)
        expect(result.output, `M ${M}, N ${N}, D ${D}, Dv ${Dv}`).toMatchOracle(
          attentionReference(inputs).output,
          webgpuTolerance,
        )
      }
    }
  })

  test('the lowest key wins a tie, across workgroups and passes too', async () => {
    const { results, maxIndex } = await runCall(backend, inputsOf({ B: 1, H: 1, M: 4, N: 3000, D: 4 }), {
      scale: 0,
      window: { after: 2999 },
      queryOffset: 5,
    })
    expect([...maxIndex]).toEqual([0, 0, 0, 0])
    expect(results[0]?.maxWeight?.[0]).toBeCloseTo(1 / 3000, 8)
  })

  test('a value wider than a workgroup accumulates', async () => {
    const random = new Random(8)
    const inputs = {
      query: normalTensor(random, [40, 20]),
      key: normalTensor(random, [50, 20]),
      value: normalTensor(random, [50, 300]),
    }
    const reference = attentionReference(inputs, { causal: true, dropout: { probability: 0.2, seed: 3 } })
    const result = await runCall(backend, inputs, { causal: true, dropout: { probability: 0.2, seed: 3 } })
    expect(result.output).toMatchOracle(reference.output, webgpuTolerance)
    expect(result.entropy).toMatchOracle(reference.entropy, webgpuTolerance)
  })
})
