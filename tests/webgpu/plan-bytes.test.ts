import { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, it } from 'vitest'
import {
  createRuntime,
  MemoryBudgetError,
  tensor,
  type AttentionOptions,
  type Runtime,
  type RuntimeOptions,
} from 'heddle'
import { normalValues } from '../../src/cli/bench/normal-values.ts'
import { mergeParams } from '../../src/backends/webgpu/kernels/attention-merge.wgsl.ts'
import { scoreParams } from '../../src/backends/webgpu/kernels/score-tile.wgsl.ts'
import { GPU_UNIFORM_BYTES } from '../../src/plan/gpu-memory.ts'
import { attentionReference } from '../support/oracle.ts'
import { webgpuTolerance } from '../support/error-rule.ts'
import { workerFile } from '../support/runtimes.ts'
import { FAST_GPU, skipReason, testGpu } from './support/software-gpu.ts'

/** A worker whose GPU compiles kernels as soon as the tests' own. */
const workerFactory = (): Worker =>
  new Worker(
    new URL(
      `data:text/javascript,${encodeURIComponent(`import ${JSON.stringify(FAST_GPU)}\nimport ${JSON.stringify(workerFile.href)}`)}`,
    ),
  )
const pools: Record<string, RuntimeOptions> = {
  'the calling thread': { workers: 0, backend: 'webgpu' },
  'a worker over shared memory': { backend: { webgpu: 1 }, workerFactory },
  'a worker by transfer': { backend: { webgpu: 1 }, sharedMemory: 'never', workerFactory },
}

/**
 * [B, H, Hkv, M, N, D, Dv]: several tasks a lane, rows and sizes that need padding, and more keys than rows, with the
 * first one's kernels.
 */
const shapes = [
  [1, 1, 1, 700, 700, 64, 64],
  [2, 4, 2, 300, 500, 33, 47],
  [1, 3, 3, 70, 2000, 64, 64],
] as const
/** What a pass uploads or brings back depends on the time that passes take: for those the plan is a bound. */
const bounded: AttentionOptions[] = [{ returnWeights: { rows: [0, 5] } }, { returnWeights: true }]

/** Values of [B, H, rows, size]. */
function inputsOf([B, H, Hkv, M, N, D, Dv]: readonly [number, number, number, number, number, number, number]) {
  const make = (heads: number, rows: number, size: number, seed: number) =>
    tensor(normalValues(B * heads * rows * size, seed), [B, heads, rows, size])
  return { query: make(H, M, D, 1), key: make(Hkv, N, D, 2), value: make(Hkv, N, Dv, 3) }
}

const found = await testGpu()
/**
 * Where the backend keeps the host's GPU. On the calling thread tests put their own there, which compiles kernels
 * sooner.
 */
const host = globalThis as { [key: symbol]: unknown }
host[Symbol.for('heddle.webgpu')] = found.gpu

describe.skipIf(skipReason(found) !== undefined)('the plan’s bytes for a GPU lane', { timeout: 120_000 }, () => {
  let runtime: Runtime | undefined
  const open = async (options: RuntimeOptions): Promise<Runtime> => (runtime = await createRuntime(options))

  afterEach(async () => {
    await runtime?.close()
    runtime = undefined
  })

  it('count the uniforms that kernels have', () => {
    expect([scoreParams.byteLength, mergeParams.byteLength]).toEqual([GPU_UNIFORM_BYTES.pass, GPU_UNIFORM_BYTES.merge])
  })

  it.each(Object.entries(pools))('hold on %s, call after call, and nothing stays', async (_name, pool) => {
    const gpu = await open(pool)
    const here = pool.workers === 0
    for (const shape of here ? shapes : shapes.slice(0, 1)) {
      const inputs = inputsOf(shape)
      for (const options of [
        {},
        { chunkSize: 100 },
        ...(here ? [{ causal: true, returnStatistics: true }] : []),
        ...(here && shape !== shapes[1] ? bounded : []),
      ]) {
        const promised = gpu.plan(inputs, options).totalBytes
        const { memory, fallbacks } = (await gpu.attention(inputs, options)).report
        const what = JSON.stringify([shape, options, memory.peakByPurpose])
        expect(
          fallbacks.filter((fallback) => fallback.what.includes('webgpu')),
          what,
        ).toEqual([])
        expect(memory.plannedBytes, what).toBe(promised)
        expect(memory.peakBytes, what).toBeLessThanOrEqual(promised)
        if (!bounded.includes(options)) expect(memory.peakBytes, what).toBeGreaterThanOrEqual(0.95 * promised)
        expect(
          gpu.lanes.map(({ residentBytes }) => residentBytes),
          what,
        ).toEqual([0])
      }
    }
  })

  it('are never passed with a mask, a bias and segments', async () => {
    const gpu = await open({ workers: 0, backend: 'webgpu' })
    const [M, N] = [200, 1000]
    const mask = { data: new Uint8Array(M * N).fill(1), shape: [M, N] }
    const bias = tensor(normalValues(N, 5), [N])
    const segments = {
      query: { data: new Int32Array(M), shape: [1, M] },
      key: { data: new Int32Array(N), shape: [1, N] },
    }
    for (const options of [{ mask }, { bias }, { segments }, { mask, bias, segments, returnWeights: true as const }]) {
      const { memory } = (await gpu.attention(inputsOf([1, 2, 2, M, N, 16, 16]), options)).report
      expect(memory.peakBytes).toBeLessThanOrEqual(memory.plannedBytes)
      expect(memory.peakBytes).toBeGreaterThanOrEqual(0.5 * memory.plannedBytes)
    }
  })

  it('fit a budget with lean tasks, one head’s keys at a time and fewer rows, and the answer is the same', async () => {
    const inputs = inputsOf([1, 4, 4, 600, 600, 32, 32])
    const roomy = (await open({ workers: 0, backend: 'webgpu' })).plan(inputs)
    await runtime?.close()
    const memoryBudgetBytes = Math.floor(roomy.budgetedBytes / 3)
    const tight = await open({ workers: 0, backend: 'webgpu', memoryBudgetBytes })
    const { output, report } = await tight.attention(inputs)
    expect(report.plan.device).toMatchObject({ lean: true })
    expect(report.memory.peakBytes - report.plan.totalBytes + report.plan.budgetedBytes).toBeLessThanOrEqual(
      memoryBudgetBytes,
    )
    expect(report.memory.peakBytes).toBeLessThanOrEqual(report.memory.plannedBytes)
    expect(output.data).toMatchOracle(attentionReference(inputs).output, webgpuTolerance)
    await tight.close()
    const none = await open({ workers: 0, backend: 'webgpu', memoryBudgetBytes: 1000 })
    expect(() => none.plan(inputs)).toThrow(MemoryBudgetError)
  })

  it('are half for keys and values in float16, which the report names; what does not fit it is told', async () => {
    const inputs = inputsOf([1, 4, 4, 64, 1024, 32, 32])
    const wide = await open({ workers: 0, backend: 'webgpu' })
    const float32 = wide.plan(inputs).totalBytes
    await wide.close()
    const gpu = await open({ workers: 0, backend: 'webgpu', webgpu: { storage: 'float16', tile: 'wide' } })
    const { output, report } = await gpu.attention(inputs)
    expect(float32 - report.memory.plannedBytes).toBe(4 * 1024 * 64 * 2)
    expect(report.memory.peakBytes).toBeLessThanOrEqual(report.memory.plannedBytes)
    expect(report.memory.peakBytes).toBeGreaterThanOrEqual(0.95 * report.memory.plannedBytes)
    expect(report.lanes[0]?.kernels).toMatch(/wide tile \(asked for\), keys and values in float16/)
    // keys and values are off by 2⁻¹¹
    expect(output.data).toMatchOracle(attentionReference(inputs).output, { ...webgpuTolerance, floor: 1e-3 })
    inputs.key.data[7] = 7e4
    expect((await gpu.attention(inputs)).report.fallbacks.map(({ what }) => what)).toContain(
      'float32 in place of float16 for some keys or values',
    )
  })

  it('count a wasm arena once a task had to go to wasm', async () => {
    const gpu = await open({ workers: 0, backend: 'webgpu' })
    const inputs = inputsOf([1, 1, 1, 64, 64, 16, 16])
    const before = gpu.plan(inputs).totalBytes
    const poisoned = inputsOf([1, 1, 1, 64, 64, 16, 16])
    poisoned.value.data[9] = NaN
    const { report } = await gpu.attention(poisoned)
    expect(report.fallbacks.map(({ what }) => what)).toContain('wasm in place of webgpu for some tasks')
    const arena = gpu.lanes[0]?.residentBytes ?? 0
    expect(arena).toBeGreaterThanOrEqual(2 ** 21)
    expect(gpu.plan(inputs).totalBytes).toBe(before + arena)
    const { memory } = (await gpu.attention(inputs)).report
    expect(memory.peakBytes).toBeLessThanOrEqual(memory.plannedBytes)
    expect(memory.peakBytes).toBeGreaterThanOrEqual(0.95 * memory.plannedBytes)
  })
})
