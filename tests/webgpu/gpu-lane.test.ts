import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Backend } from '../../src/backends/backend.ts'
import { GpuLaneBackend } from '../../src/scheduler/gpu-lane-backend.ts'
import { webgpuTolerance } from '../support/closeness.ts'
import { attentionReference } from '../support/oracle.ts'
import { inputsOf } from './support/cases.ts'
import { skipReason, testGpu } from './support/software-gpu.ts'
import { runCall } from './support/tasks.ts'

const found = await testGpu()
const shape = { B: 1, H: 1, M: 40, N: 80, D: 8 }
/** Where the backend keeps the host's GPU. */
const KEPT = Symbol.for('heddle.webgpu')

describe.skipIf(skipReason(found) !== undefined)('a GPU lane', { timeout: 60_000 }, () => {
  const host = globalThis as { [KEPT]?: GPU | undefined }
  const devices: GPUDevice[] = []
  let adapters = Infinity
  let lane: GpuLaneBackend | undefined

  // The host's GPU, watched: the test sees every device, and can run out of adapters.
  beforeEach(() => {
    devices.length = 0
    adapters = Infinity
    host[KEPT] = {
      requestAdapter: async () => {
        const adapter = adapters-- > 0 ? await found.gpu?.requestAdapter() : null
        if (!adapter) return null
        const requestDevice = adapter.requestDevice.bind(adapter)
        adapter.requestDevice = async (descriptor) => {
          const device = await requestDevice(descriptor)
          devices.push(device)
          return device
        }
        return adapter
      },
    } as unknown as GPU
  })

  afterEach(() => {
    lane?.dispose()
    lane = undefined
    host[KEPT] = undefined
  })

  /** Stands for the wasm backend: counts what it is given. */
  function wasm(): { backend: Backend; tasks: () => number; most: () => number } {
    let [tasks, running, most] = [0, 0, 0]
    const attention: Backend['attention'] = async (task) => {
      tasks++
      most = Math.max(most, ++running)
      await Promise.resolve()
      running--
      return { output: new Float32Array(task.rows * task.settings.valueSize).fill(3), logSumExp: new Float32Array(task.rows), elapsedMs: 0, tiles: 0, skippedTiles: 0 }
    }
    return { backend: { kind: 'wasm', residentBytes: () => 0, attention, dispose: () => undefined }, tasks: () => tasks, most: () => most }
  }

  async function open(): Promise<{ lane: GpuLaneBackend; tasks: () => number }> {
    const { backend, tasks } = wasm()
    const created = await GpuLaneBackend.create(() => Promise.resolve(backend))
    lane = created.backend
    return { lane, tasks }
  }

  const inputs = inputsOf(shape)
  const reference = attentionReference(inputs)

  test('a lost device is replaced in the middle of a call, and said so; the second loss leaves wasm', async () => {
    const { lane, tasks } = await open()
    let losses = 0
    const pace = (): Promise<void> | undefined => {
      if (losses++ === 0) devices.at(-1)?.destroy()
      return undefined
    }
    const result = await runCall(lane, inputs, {}, { pace, statistics: false })
    expect(result.output).toMatchOracle(reference.output, webgpuTolerance)
    expect(lane.takeFallbacks()).toMatchObject([{ what: 'a new GPU device in place of a lost one' }])
    expect([devices.length, tasks()]).toEqual([2, 0])
    devices.at(-1)?.destroy()
    await runCall(lane, inputs, {}, { statistics: false })
    expect(tasks()).toBe(1)
    expect(lane.takeFallbacks()).toMatchObject([{ what: 'wasm in place of webgpu' }])
    await runCall(lane, inputs, {}, { statistics: false })
    expect([devices.length, tasks()]).toEqual([2, 2])
  })

  test('where there is no new device, wasm computes the rest', async () => {
    adapters = 1
    const { lane, tasks } = await open()
    devices[0]?.destroy()
    await runCall(lane, inputs, {}, { statistics: false })
    expect(tasks()).toBe(1)
    expect(lane.takeFallbacks()).toMatchObject([{ what: 'wasm in place of webgpu', reason: expect.stringMatching(/no new device/) as string }])
  })

  test('two tasks under which the same device is lost: it is replaced once, and both are right', async () => {
    const { lane, tasks } = await open()
    let lost = false
    const pace = (): Promise<void> | undefined => {
      if (!lost) devices.at(-1)?.destroy()
      lost = true
      return undefined
    }
    const results = await Promise.all([runCall(lane, inputs, {}, { pace, statistics: false }), runCall(lane, inputs, {}, { statistics: false })])
    for (const { output } of results) expect(output).toMatchOracle(reference.output, webgpuTolerance)
    expect([devices.length, tasks()]).toEqual([2, 0])
  })

  test('wasm takes tasks one after the other: it has one arena', async () => {
    const { backend, most } = wasm()
    lane = (await GpuLaneBackend.create(() => Promise.resolve(backend))).backend
    const poisoned = inputsOf(shape)
    poisoned.key.data[3] = Infinity
    await Promise.all([1, 2, 3].map(() => runCall(lane as GpuLaneBackend, poisoned, {}, { statistics: false })))
    expect(most()).toBe(1)
  })

  test('a task with a NaN goes to wasm, the next one to the GPU again', async () => {
    const { lane, tasks } = await open()
    const poisoned = inputsOf(shape)
    poisoned.value.data[9] = NaN
    await runCall(lane, poisoned, {}, { statistics: false })
    expect(tasks()).toBe(1)
    const result = await runCall(lane, inputs, {}, { statistics: false })
    expect(result.output).toMatchOracle(reference.output, webgpuTolerance)
    expect(tasks()).toBe(1)
  })
})
