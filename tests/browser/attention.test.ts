import {
  attention,
  closeDefaultRuntime,
  createRuntime,
  OptionError,
  RuntimeClosedError,
  type Runtime,
  type RuntimeOptions,
} from 'heddle'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { webgpuTolerance } from '../support/error-rule.ts'
import { expectOracle } from '../support/expect-attention.ts'
import { expectGradients, expectTransposed } from '../support/expect-backward.ts'
import { fullCase, singleCases } from '../support/option-cases.ts'
import { Random } from '../support/random.ts'
import { bytesOf, filled, normalTensor, shared } from '../support/tensors.ts'

const dims = { B: 2, H: 2, M: 37, N: 45 }
const D = 16

function inputsOf(random: Random) {
  const { B, H, M, N } = dims
  return {
    query: normalTensor(random, [B, H, M, D]),
    key: normalTensor(random, [B, H, N, D]),
    value: normalTensor(random, [B, H, N, D]),
  }
}

function useRuntime(options: RuntimeOptions): () => Runtime {
  let runtime: Runtime | undefined
  beforeAll(async () => {
    runtime = await createRuntime(options)
  })
  afterAll(() => runtime?.close())
  return () => runtime as Runtime
}

describe.each([
  ['on the calling thread', { workers: 0 }],
  ['on two workers', { workers: 2 }],
  ['on two workers, plain SIMD', { workers: 2, numerics: 'portable' }],
] as [string, RuntimeOptions][])('wasm lanes %s', (_, options) => {
  const runtime = useRuntime({ backend: 'wasm', ...options })

  test.each([...singleCases, fullCase])('$name equals the oracle in both modes', async ({ options }) => {
    const random = new Random(3)
    await expectOracle(runtime(), inputsOf(random), options(random, dims))
  })

  test.each([...singleCases, fullCase])('$name: gradients and Pᵀ·X equal the oracle', async ({ options }) => {
    const random = new Random(3)
    const mathematical = options(random, dims)
    await expectGradients(runtime(), inputsOf(random), { ...mathematical, chunkSize: 8 })
    await expectTransposed(runtime(), inputsOf(random), undefined, mathematical)
  })

  test('the report says how data travelled', async () => {
    const { report } = await runtime().attention(inputsOf(new Random(4)), { chunkSize: 5 })
    expect(report.transport).toBe(options.workers === 0 ? 'local' : inject('isolated') ? 'shared' : 'transfer')
    expect(report.memory.peakBytes).toBeLessThanOrEqual(report.memory.plannedBytes)
  })
})

describe('two workers and the calling thread', () => {
  const workers = useRuntime({ workers: 2, backend: 'wasm' })
  const caller = useRuntime({ workers: 0 })

  test('give the same bits, whatever the chunk size', async () => {
    const inputs = inputsOf(new Random(5))
    const options = { causal: true, returnLogSumExp: true } as const
    const expected = await caller().attention(inputs, options)
    for (const chunkSize of [1, 7, 64]) {
      const result = await workers().attention(inputs, { ...options, chunkSize })
      expect(bytesOf(result.output.data)).toEqual(bytesOf(expected.output.data))
      expect(bytesOf(result.logSumExp?.data)).toEqual(bytesOf(expected.logSumExp?.data))
    }
  })

  test('leave plain inputs as they were: not detached, not changed', async () => {
    const inputs = inputsOf(new Random(6))
    const before = Object.values(inputs).map((tensor) => bytesOf(tensor.data))
    await workers().attention(inputs, { chunkSize: 3 })
    expect(Object.values(inputs).map((tensor) => bytesOf(tensor.data))).toEqual(before)
  })

  test('an abort between chunks rejects with its reason, and the lanes work on', async () => {
    const large = filled([2, 4096, 64], (at) => Math.sin(at))
    const controller = new AbortController()
    const reason = new Error('stop')
    const call = workers().attention(
      { query: large, key: large, value: large },
      { chunkSize: 64, signal: controller.signal, onChunk: () => controller.abort(reason) },
    )
    await expect(call).rejects.toBe(reason)
    const inputs = inputsOf(new Random(7))
    const [after, expected] = await Promise.all([workers().attention(inputs), caller().attention(inputs)])
    expect(bytesOf(after.output.data)).toEqual(bytesOf(expected.output.data))
  })

  test('the page goes on while workers compute', async () => {
    const large = filled([1, 4096, 64], (at) => Math.cos(at))
    let turns = 0
    const { port1, port2 } = new MessageChannel()
    port1.onmessage = () => {
      turns++
      port2.postMessage(null)
    }
    port2.postMessage(null)
    const seen: number[] = []
    await workers().attention(
      { query: large, key: large, value: large },
      { chunkSize: 512, onProgress: () => seen.push(turns) },
    )
    port1.close()
    expect(turns).toBeGreaterThan(100)
    expect(seen.at(-1)).toBeGreaterThan(0)
  })
})

describe('a page', () => {
  test('has what its headers allow, and says why not', async () => {
    const runtime = await createRuntime({ workers: 1 })
    const { capabilities } = runtime
    await runtime.close()
    expect(capabilities).toMatchObject({ simd: true, threads: inject('isolated'), workers: true })
    expect(capabilities.reasons['threads'] !== undefined).toBe(!inject('isolated'))
  })

  test.runIf(inject('isolated'))('gives shared outputs for shared inputs', async () => {
    const runtime = await createRuntime({ workers: 2 })
    const inputs = inputsOf(new Random(8))
    const result = await runtime.attention({
      query: shared(inputs.query),
      key: shared(inputs.key),
      value: shared(inputs.value),
    })
    await runtime.close()
    expect(result.output.data.buffer).toBeInstanceOf(SharedArrayBuffer)
  })

  test('has a default runtime, made at first use', async () => {
    const inputs = inputsOf(new Random(9))
    const { output } = await attention(inputs, { causal: true })
    expect(output.shape).toEqual(inputs.query.shape)
    await closeDefaultRuntime()
  })

  test('refuses a mistyped option, and calls after close', async () => {
    const runtime = await createRuntime({ workers: 1 })
    await expect(runtime.attention(inputsOf(new Random(10)), { casual: true } as object)).rejects.toThrow(OptionError)
    await runtime.close()
    await expect(runtime.attention(inputsOf(new Random(10)))).rejects.toThrow(RuntimeClosedError)
  })

  test('survives a worker that is terminated in the middle of a call', async () => {
    const made: Worker[] = []
    const workerFactory = (): Worker => {
      const worker = new Worker(new URL('../../dist/worker.js', import.meta.url), { type: 'module' })
      made.push(worker)
      return worker
    }
    const runtime = await createRuntime({ workers: 2, backend: 'wasm', workerFactory })
    const large = filled([1, 2048, 64], (at) => Math.sin(at))
    const inputs = { query: large, key: large, value: large }
    const expected = await runtime.attention(inputs)
    let killed = false
    const result = await runtime.attention(inputs, {
      chunkSize: 64,
      onChunk: () => {
        // Browsers fire no event on terminate(): an error event is what a crash gives.
        if (!killed) made[0]?.dispatchEvent(new ErrorEvent('error', { message: 'crashed' }))
        killed = true
      },
    })
    await runtime.close()
    expect(bytesOf(result.output.data)).toEqual(bytesOf(expected.output.data))
    expect(made.length).toBeGreaterThan(2)
  })
})

describe('WebGPU lanes', () => {
  test('in a worker: the oracle within the tolerance, and the report names the adapter', async () => {
    const runtime = await createRuntime({ backend: { webgpu: 1 } })
    const random = new Random(11)
    await expectOracle(runtime, inputsOf(random), { causal: true, queryOffset: 8 }, webgpuTolerance)
    const { report } = await runtime.attention(inputsOf(random))
    await runtime.close()
    expect(report.lanes).toMatchObject([{ kind: 'webgpu', kernels: expect.stringMatching(/swiftshader/i) as string }])
    expect(report.reproducible).toBe(false)
  })

  test('two runtimes in one page, each with its own device', async () => {
    const runtimes = await Promise.all([
      createRuntime({ backend: { webgpu: 1 } }),
      createRuntime({ backend: { webgpu: 1 } }),
    ])
    const inputs = inputsOf(new Random(13))
    const results = await Promise.all(runtimes.map((runtime) => runtime.attention(inputs, { causal: true })))
    const [first, second] = results.map(({ output }) => bytesOf(output.data))
    expect(first).toEqual(second)
    await runtimes[0]?.close()
    await expectOracle(runtimes[1], inputs, { causal: true }, webgpuTolerance)
    await runtimes[1]?.close()
  })

  test('next to a wasm lane: one result, and a NaN goes to wasm, reported', async () => {
    const runtime = await createRuntime({ backend: { webgpu: 1, wasm: 1 } })
    const inputs = inputsOf(new Random(12))
    await expectOracle(runtime, inputs, { softcap: 3 }, webgpuTolerance)
    await runtime.close()
    const gpu = await createRuntime({ backend: { webgpu: 1 } })
    inputs.key.data[0] = NaN
    const { report, output } = await gpu.attention(inputs, { keyLengths: Int32Array.of(45, 30) })
    await gpu.close()
    expect(report.fallbacks.some(({ what }) => /wasm in place of webgpu/.test(what))).toBe(true)
    expect(output.data.some(Number.isNaN)).toBe(true)
  })
})
