import type { ArrayId, AttentionTaskResult } from '../../protocol/task.ts'
import type { Backend } from '../backend.ts'
import { AttentionBlock } from './attention-block.ts'
import { blockWeights } from './block-weights.ts'
import { GpuDevice, type GpuDeviceOptions } from './gpu-device.ts'
import { countTiles } from './key-range.ts'
import { KeyValueCache } from './key-value-cache.ts'
import { PassPacer } from './pass-pacer.ts'
import { ResidentWeights } from './resident-weights.ts'
import { blockSizesOf, type BlockSizes } from './row-blocks.ts'
import { runRowStage } from './row-stage.ts'
import type { TaskResources } from './score-inputs.ts'
import { DeviceLost } from './signals.ts'
import { TaskResults } from './task-results.ts'

export interface WebGpuOptions extends GpuDeviceOptions {
  /** device bytes that keys and values may take. @default 512 MiB */
  readonly cacheBytes?: number
}

/** A backend on a device of its own. */
export interface WebGpuBackend extends Backend {
  readonly kind: 'webgpu'
  readonly gpu: GpuDevice
}

/**
 * A backend that computes tasks in WGSL, float32, with no optional feature, within 1e-5 + 1e-5·|x|.
 *
 * A task rejects with NonFiniteInput when wasm must compute it, and with DeviceLost when the device is gone; in both cases
 * nothing of its output was written.
 *
 * @param gpu the host's GPU; undefined looks for it (the browser's, or in Node the optional peer `webgpu`)
 * @throws {BackendUnavailableError} without an adapter or device
 */
export async function createWebGpuBackend(gpu?: GPU, options: WebGpuOptions = {}): Promise<WebGpuBackend> {
  const device = await GpuDevice.open(gpu, options)
  const cache = new KeyValueCache(device, options.cacheBytes)
  const weights = new ResidentWeights(device)
  const pacer = new PassPacer()
  const run: Backend['attention'] = (task, context) => withLoss(device, () => attention({ gpu: device, cache, task, context }, pacer))
  return {
    kind: 'webgpu',
    gpu: device,
    residentBytes: () => device.residentBytes,
    attention: run,
    rows: (task, context) => withLoss(device, () => runRowStage({ gpu: device, pacer, weights, attention: run }, task, context)),
    release: (ids: readonly ArrayId[]) => cache.release(ids),
    dispose: () => device.dispose(),
  }
}

/** A call on a lost device fails in many ways, some of them before the loss is known; what it means is the loss. */
async function withLoss<T>(gpu: GpuDevice, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    if (error instanceof Error && (error.name === 'AbortError' || error.name === 'OperationError')) await gpu.settleLoss()
    if (gpu.lost !== null && !(error instanceof DeviceLost)) throw gpu.lost
    throw error
  }
}

async function attention(resources: TaskResources, pacer: PassPacer): Promise<AttentionTaskResult> {
  const { gpu, task, context } = resources
  const startMs = performance.now()
  const results = new TaskResults(task, (id) => context.array(id))
  const sizes = blockSizesOf(gpu, task, pacer.multiplyAdds)
  await gpu.guarded('attention', async () => {
    for (let first = 0; first < task.rows; first += sizes.rows) {
      await runBlock(resources, pacer, sizes, first, Math.min(sizes.rows, task.rows - first), results)
    }
  })
  const { tiles, skipped } = countTiles(task, 0, task.rows)
  return { ...results.publish(), elapsedMs: performance.now() - startMs, tiles, skippedTiles: skipped }
}

async function runBlock(
  resources: TaskResources, pacer: PassPacer, sizes: BlockSizes, first: number, rows: number, results: TaskResults,
): Promise<void> {
  const block = new AttentionBlock(resources, pacer, sizes, first, rows)
  try {
    const result = await block.run()
    results.add(first, rows, result)
    if (resources.task.weights !== undefined) await runWeights(resources, pacer, sizes, block, result !== null, results)
  } finally {
    block.dispose()
  }
}

/** Weights of the block's selected rows, or of all of them in standard mode. */
async function runWeights(
  resources: TaskResources, pacer: PassPacer, sizes: BlockSizes, block: AttentionBlock, seesKeys: boolean, results: TaskResults,
): Promise<void> {
  const { task } = resources
  const selected = task.weightRows ?? Int32Array.from({ length: task.rows }, (_, row) => row)
  const from = selected.findIndex((row) => row >= block.first)
  const places = from < 0 ? selected.subarray(0, 0) : selected.subarray(from).filter((row) => row < block.first + block.rows)
  if (places.length === 0) return
  results.weights(from, places.length, null, 0, { first: task.keyStart, count: task.keyEnd - task.keyStart })
  if (!seesKeys) return
  const inBlock = Uint32Array.from(places, (row) => row - block.first)
  await blockWeights(resources, pacer, block, { places, count: places.length }, inBlock, sizes.matrixKeys, (weights, stride, keys) => {
    results.weights(from, places.length, weights, stride, keys)
  })
}
