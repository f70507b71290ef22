import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createWebGpuBackend, type WebGpuBackend } from '../../src/backends/webgpu/engine.ts'
import { webgpuTolerance } from '../support/error-rule.ts'
import { coveringCases, fullCase, pairCases } from '../support/option-cases.ts'
import { attentionReference } from '../support/oracle.ts'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'
import { maxIndexAgrees } from './support/cases.ts'
import { skipReason, testGpu } from './support/software-gpu.ts'
import { runCall } from './support/tasks.ts'

const found = await testGpu()
const SEED = 2027

describe.skipIf(skipReason(found) !== undefined)('options together, in WGSL', { timeout: 60_000 }, () => {
  let backend: WebGpuBackend

  beforeAll(async () => {
    backend = await createWebGpuBackend(found.gpu)
  })

  afterAll(() => backend.dispose())

  // Each call has its own shape, chunks and data; head sizes stay within the same number of vectors, so that kernels
  // are shared. Each set of options still has a kernel of its own, and a software adapter takes a while to compile it.
  const heavy = process.env['HEDDLE_HEAVY'] === '1'
  const calls = [...(heavy ? pairCases : coveringCases), fullCase, fullCase, fullCase].map((combination, at) => ({
    ...combination,
    seed: SEED + at,
  }))

  test.each(calls)('$name, seed $seed', async ({ options, seed }) => {
    const random = new Random(seed)
    const dims = {
      B: random.integer(1, 2),
      H: random.integer(1, 2),
      M: random.integer(1, 70),
      N: random.integer(1, 110),
    }
    const [D, Dv] = [random.integer(5, 8), random.integer(9, 12)]
    const inputs = {
      query: normalTensor(random, [dims.B, dims.H, dims.M, D]),
      key: normalTensor(random, [dims.B, dims.H, dims.N, D]),
      value: normalTensor(random, [dims.B, dims.H, dims.N, Dv]),
    }
    const chosen = options(random, dims)
    const reference = attentionReference(inputs, chosen)
    const result = await runCall(backend, inputs, chosen, { standard: true, chunkRows: random.integer(5, 80) })
    expect(result.output).toMatchOracle(reference.output, webgpuTolerance)
    expect(result.logSumExp).toMatchOracle(reference.logSumExp, webgpuTolerance)
    expect(result.entropy).toMatchOracle(reference.entropy, webgpuTolerance)
    expect(result.meanDistance).toMatchOracle(reference.meanDistance, webgpuTolerance)
    expect(result.weights).toMatchOracle(reference.weights, webgpuTolerance)
    expect(maxIndexAgrees(reference, result.maxIndex)).toBe(true)
  })
})
