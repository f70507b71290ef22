import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createWebGpuBackend, type WebGpuBackend, type WebGpuOptions } from '../../src/backends/webgpu/engine.ts'
import { probeWebGpu } from '../../src/backends/webgpu/probe.ts'
import { DeviceLost, NonFiniteInput } from '../../src/backends/webgpu/signals.ts'
import { BackendUnavailableError, MemoryBudgetError } from '../../src/core/errors.ts'
import { gpuBufferBytes, gpuScratchBytes } from '../../src/plan/gpu-memory.ts'
import { webgpuTolerance } from '../support/error-rule.ts'
import { attentionReference } from '../support/oracle.ts'
import { normalise } from '../support/problem.ts'
import { sharedArray } from '../support/tensors.ts'
import { inputsOf } from './support/cases.ts'
import { skipReason, testGpu } from './support/software-gpu.ts'
import { arraysOf, contextOf, runCall, taskOf } from './support/tasks.ts'

const found = await testGpu()
const shape = { B: 1, H: 1, M: 70, N: 200, D: 16 }

describe.skipIf(skipReason(found) !== undefined)('the WebGPU backend', { timeout: 60_000 }, () => {
  let backend: WebGpuBackend | undefined
  const open = async (options: WebGpuOptions = {}, gpu = found.gpu): Promise<WebGpuBackend> =>
    (backend = await createWebGpuBackend(gpu, options))

  afterEach(() => {
    backend?.dispose()
    backend = undefined
  })

  /** For tests that leave it as it was: a device of its own would compile the same kernels again. */
  let shared: WebGpuBackend
  beforeAll(async () => {
    shared = await createWebGpuBackend(found.gpu)
  })
  afterAll(() => shared.dispose())

  test('the probe names the adapter, its limits, and that it is software', async () => {
    const probe = await probeWebGpu(found.gpu)
    expect(probe).toMatchObject({ available: true, fallback: true, info: { vendor: 'google' } })
    expect(probe.limits?.maxBufferSize).toBeGreaterThanOrEqual(2 ** 28)
    expect(probe.reason).toMatch(/software/)
  })

  test('the probe says why there is no adapter', async () => {
    const none = { requestAdapter: () => Promise.resolve(null) } as unknown as GPU
    expect(await probeWebGpu(none)).toMatchObject({
      available: false,
      limits: null,
      reason: expect.stringMatching(/no adapter/) as string,
    })
    await expect(createWebGpuBackend(none)).rejects.toThrow(BackendUnavailableError)
  })

  test('an adapter that refuses a device is a typed error', async () => {
    const adapter = await found.gpu?.requestAdapter()
    const refusing = {
      features: adapter?.features,
      limits: adapter?.limits,
      info: adapter?.info,
      requestDevice: () => Promise.reject(new Error('busy')),
    }
    const gpu = { requestAdapter: () => Promise.resolve(refusing) } as unknown as GPU
    await expect(createWebGpuBackend(gpu)).rejects.toThrow(/expected the adapter to give a device, but busy/)
  })

  // 70 rows × 200 keys × 16 wide: 4 KiB hold 64 rows of queries, so rows, keys, mask and weights must all be split.
  test.each([4096, 8192, 65536])('buffers of %i bytes at most: rows and keys are split', async (bytes) => {
    const small = await open({ limits: { maxBufferSize: bytes, maxStorageBufferBindingSize: bytes } })
    const created: number[] = []
    const createBuffer = small.gpu.device.createBuffer.bind(small.gpu.device)
    small.gpu.device.createBuffer = (descriptor) => {
      created.push(descriptor.size)
      return createBuffer(descriptor)
    }
    const inputs = inputsOf(shape)
    const options = { causal: true, queryOffset: 120, bias: inputsOf({ ...shape, D: 200 }).query }
    const reference = attentionReference(inputs, options)
    const result = await runCall(small, inputs, options, { standard: true })
    expect(result.output).toMatchOracle(reference.output, webgpuTolerance)
    expect(result.entropy).toMatchOracle(reference.entropy, webgpuTolerance)
    expect(result.weights).toMatchOracle(reference.weights, webgpuTolerance)
    const results = 70 * 5 * 4 // copied out beside the output: never bound
    expect(Math.max(...created)).toBeLessThanOrEqual(bytes + results)
  })

  test('a run of short passes with many merges gives the same', async () => {
    const many = await open({ limits: { maxComputeWorkgroupsPerDimension: 3 } })
    const inputs = inputsOf({ B: 1, H: 1, M: 50, N: 7000, D: 4 })
    const reference = attentionReference(inputs)
    const result = await runCall(many, inputs)
    expect(result.output).toMatchOracle(reference.output, webgpuTolerance)
    expect(result.logSumExp).toMatchOracle(reference.logSumExp, webgpuTolerance)
  })

  test('keys and values are uploaded once, until they are released', async () => {
    const gpuBackend = shared
    const problem = normalise(inputsOf(shape), {})
    const context = contextOf(arraysOf(problem))
    const before = gpuBackend.residentBytes()
    await gpuBackend.attention(taskOf(problem, 0, 0, 0, 35), context)
    const held = gpuBackend.residentBytes() - before
    const scratch = Object.values(gpuScratchBytes({ rows: 35, slots: 4 }, 16)).reduce(
      (sum, bytes) => sum + gpuBufferBytes(bytes),
      0,
    )
    expect(held).toBe(2 * 200 * 16 * 4 + scratch)
    problem.key.fill(NaN) // not looked at again
    await gpuBackend.attention(taskOf(problem, 0, 0, 35, 35), context)
    expect(gpuBackend.residentBytes() - before).toBe(held)
    gpuBackend.release?.([2, 3])
    expect(gpuBackend.residentBytes()).toBe(before)
  })

  test('tasks work in the same buffers one after the other, and in two sets when two overlap', async () => {
    const gpuBackend = await open()
    const { device } = gpuBackend.gpu
    const createBuffer = device.createBuffer.bind(device)
    let partials = 0
    device.createBuffer = (descriptor) => {
      if (descriptor.label === 'heddle.partials') partials++
      return createBuffer(descriptor)
    }
    const problem = normalise(inputsOf(shape), {})
    const context = contextOf(arraysOf(problem))
    const reference = attentionReference(inputsOf(shape))
    const rows = (first: number): ReturnType<WebGpuBackend['attention']> =>
      gpuBackend.attention(
        { ...taskOf(problem, 0, 0, first, 10), device: { cacheBytes: 2 ** 20, lean: false, rows: 10 } },
        context,
      )
    for (const first of [0, 10, 20]) await rows(first)
    expect(partials).toBe(1)
    const results = await Promise.all([0, 10, 20, 30, 40, 50, 60].map(rows))
    expect(partials).toBeGreaterThan(1)
    expect(Float32Array.from(results.flatMap(({ output }) => [...(output ?? [])]))).toMatchOracle(
      reference.output,
      webgpuTolerance,
    )
    gpuBackend.release?.([2, 3])
    expect(gpuBackend.residentBytes()).toBe(0)
  })

  test('a cache smaller than the heads still gives the right answer', async () => {
    const tight = await open({ cacheBytes: 16384 })
    const inputs = inputsOf({ ...shape, H: 3 })
    const result = await runCall(tight, inputs, {}, { chunkRows: 40 })
    expect(result.output).toMatchOracle(attentionReference(inputs).output, webgpuTolerance)
  })

  test('results are written into shared memory where the task says', async () => {
    const gpuBackend = shared
    const problem = normalise(inputsOf(shape), { causal: true })
    const arrays = arraysOf(problem)
    for (const [id, array] of arrays) arrays.set(id, sharedArray(array))
    const output = sharedArray(new Float32Array(70 * 24).fill(7))
    const rows = sharedArray(new Float32Array(140).fill(7))
    arrays.set(20, output).set(21, rows)
    const task = {
      ...taskOf(problem, 0, 0, 0, 70, { statistics: false }),
      output: { array: 20, offset: 3, rowStride: 24 },
      logSumExp: { array: 21, offset: 1, rowStride: 2 },
    }
    const result = await gpuBackend.attention(task, contextOf(arrays))
    expect(result.output).toBeUndefined()
    const reference = attentionReference(inputsOf(shape), { causal: true })
    const dense = Float32Array.from(
      { length: 70 * 16 },
      (_, at) => output[Math.floor(at / 16) * 24 + 3 + (at % 16)] as number,
    )
    expect(dense).toMatchOracle(reference.output, webgpuTolerance)
    expect(rows.filter((_, at) => at % 2 === 1)).toMatchOracle(reference.logSumExp, webgpuTolerance)
    expect(output.filter((_, at) => at % 24 < 3 || at % 24 >= 19).every((value) => value === 7)).toBe(true)
    expect(rows.filter((_, at) => at % 2 === 0).every((value) => value === 7)).toBe(true)
  })

  test('partials over disjoint keys carry the log-sum-exp to merge by', async () => {
    const gpuBackend = shared
    const inputs = inputsOf(shape)
    const halves = await Promise.all(
      [
        { start: 0, end: 77 },
        { start: 77, end: 200 },
      ].map((keys) => runCall(gpuBackend, inputs, {}, { keys })),
    )
    const merged = Float32Array.from({ length: 70 * 16 }, (_, at) => {
      const row = Math.floor(at / 16)
      const [a, b] = halves.map((half) => ({
        value: half.output[at] as number,
        lse: half.logSumExp[row] as number,
      })) as [{ value: number; lse: number }, { value: number; lse: number }]
      const share = 1 / (1 + Math.exp(b.lse - a.lse))
      return share * a.value + (1 - share) * b.value
    })
    expect(merged).toMatchOracle(attentionReference(inputs).output, webgpuTolerance)
  })

  test.each([
    ['a NaN in the query', 'query', NaN],
    ['an infinity in the key', 'key', Infinity],
    ['a NaN in the value', 'value', NaN],
    ['a key whose product overflows', 'key', 3e38],
    ['a value whose sum overflows', 'value', -3e38],
  ] as const)('%s is handed back for wasm to compute', async (_name, which, poison) => {
    const gpuBackend = shared
    const inputs = inputsOf(shape)
    inputs[which].data[77] = poison
    await expect(runCall(gpuBackend, inputs)).rejects.toThrow(NonFiniteInput)
    gpuBackend.release?.([2, 3])
    inputs[which].data[77] = 1
    expect((await runCall(gpuBackend, inputs)).output).toMatchOracle(attentionReference(inputs).output, webgpuTolerance)
  })

  test('a NaN in the bias is handed back; −∞ is not', async () => {
    const gpuBackend = shared
    const bias = inputsOf({ ...shape, D: 200 }).query
    bias.data[5] = -Infinity
    await runCall(gpuBackend, inputsOf(shape), { bias })
    bias.data[5] = NaN
    await expect(runCall(gpuBackend, inputsOf(shape), { bias })).rejects.toThrow(NonFiniteInput)
  })

  test('a cancelled task rejects with its reason, writes nothing, and leaves nothing behind', async () => {
    const gpuBackend = await open()
    const problem = normalise(inputsOf(shape), {})
    const output = new Float32Array(70 * 16).fill(7)
    const arrays = arraysOf(problem).set(20, output)
    const task = { ...taskOf(problem, 0, 0, 0, 70), output: { array: 20, offset: 0, rowStride: 16 } }
    const cancelled = new Error('cancelled')
    await expect(
      gpuBackend.attention(
        task,
        contextOf(arrays, () => Promise.reject(cancelled)),
      ),
    ).rejects.toBe(cancelled)
    expect(output.every((value) => value === 7)).toBe(true)
    gpuBackend.release?.([2, 3])
    expect(gpuBackend.residentBytes()).toBe(0)
    await gpuBackend.attention(task, contextOf(arrays))
    expect(output).toMatchOracle(attentionReference(inputsOf(shape)).output, webgpuTolerance)
  })

  test.each(['before the task', 'during an upload', 'between passes', 'after the last submit'])(
    'a device lost %s: DeviceLost, nothing written',
    async (when) => {
      const gpuBackend = await open()
      const problem = normalise(inputsOf(shape), {})
      const output = new Float32Array(70 * 16).fill(7)
      const arrays = arraysOf(problem).set(20, output)
      const task = { ...taskOf(problem, 0, 0, 0, 70), output: { array: 20, offset: 0, rowStride: 16 } }
      const lose = (): Promise<void> => {
        gpuBackend.gpu.device.destroy()
        return Promise.resolve()
      }
      if (when === 'before the task') await lose()
      if (when === 'after the last submit') {
        const submit = gpuBackend.gpu.device.queue.submit.bind(gpuBackend.gpu.device.queue)
        let submits = 0
        gpuBackend.gpu.device.queue.submit = (commands) => {
          const done = submit(commands)
          if (++submits === 2) void lose()
          return done
        }
      }
      const context = contextOf(arrays, when === 'between passes' ? lose : (): undefined => undefined)
      const array = (id: number) => {
        if (when === 'during an upload') void lose()
        return context.array(id)
      }
      await expect(gpuBackend.attention(task, { ...context, array })).rejects.toThrow(DeviceLost)
      expect(output.every((value) => value === 7)).toBe(true)
      await expect(gpuBackend.attention(task, contextOf(arrays))).rejects.toThrow(DeviceLost)
    },
  )

  test('an allocation that the device refuses is a MemoryBudgetError, and the backend is usable after', async () => {
    const gpuBackend = await open()
    const { device } = gpuBackend.gpu
    const createBuffer = device.createBuffer.bind(device)
    device.createBuffer = () => {
      throw new RangeError('out of memory')
    }
    await expect(runCall(gpuBackend, inputsOf(shape))).rejects.toThrow(MemoryBudgetError)
    device.createBuffer = createBuffer
    expect((await runCall(gpuBackend, inputsOf(shape))).output).toMatchOracle(
      attentionReference(inputsOf(shape)).output,
      webgpuTolerance,
    )
  })

  test('results that the device does not give back are a BackendUnavailableError, and the backend is usable after', async () => {
    const gpuBackend = await open()
    const { device } = gpuBackend.gpu
    const createBuffer = device.createBuffer.bind(device)
    device.createBuffer = (descriptor) => {
      const mapAsync = () => Promise.reject(new DOMException('refused', 'OperationError'))
      return Object.assign(createBuffer(descriptor), { mapAsync })
    }
    await expect(runCall(gpuBackend, inputsOf(shape))).rejects.toMatchObject({
      code: 'BackendUnavailableError',
      cause: { message: 'refused' },
    })
    device.createBuffer = createBuffer
    expect((await runCall(gpuBackend, inputsOf(shape))).output).toMatchOracle(
      attentionReference(inputsOf(shape)).output,
      webgpuTolerance,
    )
  })

  test('a device as users have it, which zeroes workgroup memory, gives the same', async () => {
    const zeroing = await open({}, (await testGpu([])).gpu)
    const inputs = inputsOf(shape)
    const options = { causal: true, queryOffset: 100, dropout: { probability: 0.2, seed: 1 } }
    const result = await runCall(zeroing, inputs, options, { standard: true })
    const reference = attentionReference(inputs, options)
    expect(result.output).toMatchOracle(reference.output, webgpuTolerance)
    expect(result.weights).toMatchOracle(reference.weights, webgpuTolerance)
  })

  test('tiles that no row may see are counted as skipped', async () => {
    const gpuBackend = shared
    const { results } = await runCall(gpuBackend, inputsOf({ ...shape, M: 128, N: 128 }), { causal: true })
    expect(results[0]).toMatchObject({ tiles: 10, skippedTiles: 6 })
  })
})
