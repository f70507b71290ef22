import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Backend } from '../../src/backends/backend.ts'
import type { RowStageTask, RowStep } from '../../src/protocol/stage.ts'
import { GpuLaneBackend } from '../../src/scheduler/gpu-lane-backend.ts'
import { webgpuTolerance } from '../support/error-rule.ts'
import { attentionReference } from '../support/oracle.ts'
import { inputsOf } from './support/cases.ts'
import { skipReason, testGpu } from './support/software-gpu.ts'
import { contextOf, runCall } from './support/tasks.ts'

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
      return {
        output: new Float32Array(task.rows * task.settings.valueSize).fill(3),
        logSumExp: new Float32Array(task.rows),
        elapsedMs: 0,
        tiles: 0,
        skippedTiles: 0,
      }
    }
    return {
      backend: { kind: 'wasm', residentBytes: () => 0, attention, dispose: () => undefined },
      tasks: () => tasks,
      most: () => most,
    }
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
    expect(lane.takeFallbacks()).toMatchObject([
      { what: 'wasm in place of webgpu', reason: expect.stringMatching(/no new device/) as string },
    ])
  })

  test('two tasks under which the same device is lost: it is replaced once, and both are right', async () => {
    const { lane, tasks } = await open()
    let lost = false
    const pace = (): Promise<void> | undefined => {
      if (!lost) devices.at(-1)?.destroy()
      lost = true
      return undefined
    }
    const results = await Promise.all([
      runCall(lane, inputs, {}, { pace, statistics: false }),
      runCall(lane, inputs, {}, { statistics: false }),
    ])
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

  test('a stage with a step that has no WGSL kernel runs on wasm, and says so', async () => {
    const { backend } = wasm()
    const stages: RowStageTask[] = []
    const rows: NonNullable<Backend['rows']> = (task) =>
      Promise.resolve({ stored: [Float32Array.of(stages.push(task))], elapsedMs: 0 })
    lane = (await GpuLaneBackend.create(() => Promise.resolve({ ...backend, rows }))).backend
    const load: RowStep = { op: 'load', to: 0, from: { array: 1, offset: 0, rowStride: 4 } }
    const store: RowStep = { op: 'store', from: 0, to: 'returned' }
    const stage: RowStageTask = {
      kind: 'rows',
      batch: 0,
      rowStart: 0,
      rows: 1,
      registers: [4],
      attention: null,
      steps: [load, { op: 'fold', from: 0, to: 0, groups: 1 }, store],
      registerBytes: 4096,
      residentLimitBytes: 0,
    }
    const context = contextOf(new Map([[1, Float32Array.of(1, 2, 3, 4)]]))
    expect((await lane.rows(stage, context)).stored).toEqual([Float32Array.of(1)])
    expect(lane.takeFallbacks()).toEqual([
      { what: 'fold on wasm in place of webgpu', reason: 'there are no WebGPU kernels for it' },
    ])
    expect(
      (
        await lane.rows(
          {
            ...stage,
            steps: [
              load,
              {
                op: 'rms-norm',
                from: 0,
                to: 0,
                weight: { parameter: 1, version: 0, array: 1, offset: 0, outSize: 4, inSize: 1 },
                epsilon: 0,
              },
              store,
            ],
          },
          context,
        )
      ).stored,
    ).not.toEqual([Float32Array.of(2)])
    expect(stages).toHaveLength(1)
    expect(lane.takeFallbacks()).toEqual([])
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
