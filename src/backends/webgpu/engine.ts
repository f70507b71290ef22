import { BackendUnavailableError } from '../../core/errors.ts'
import { GPU_OVERLAP, type GpuBlockSizes } from '../../plan/gpu-memory.ts'
import type { Fallback } from '../../protocol/messages.ts'
import type { ArrayId, AttentionTaskResult } from '../../protocol/task.ts'
import type { Backend } from '../backend.ts'
import { AttentionBlock } from './attention-block.ts'
import { ScratchPool } from './block-scratch.ts'
import { blockWeights } from './block-weights.ts'
import { LARGEST_HALF } from './half.ts'
import { GpuDevice, type GpuDeviceOptions } from './gpu-device.ts'
import { countTiles } from './key-range.ts'
import { KeyValueCache } from './key-value-cache.ts'
import { chooseTile } from './measure-tiles.ts'
import { PassPacer } from './pass-pacer.ts'
import { ResidentWeights } from './resident-weights.ts'
import { blockSizesOf } from './row-blocks.ts'
import { runRowStage } from './row-stage.ts'
import type { TaskResources } from './score-inputs.ts'
import { DeviceLost } from './signals.ts'
import { TaskResults } from './task-results.ts'
import type { TileChoice, TileName } from './tile-choice.ts'
import { Turns } from './turns.ts'

export interface WebGpuOptions extends GpuDeviceOptions {
  /** device bytes that keys and values may take. @default 512 MiB */
  readonly cacheBytes?: number
  /** how keys and values are stored; float16 has half the bytes and an error of 2⁻¹¹ of each. @default 'float32' */
  readonly storage?: 'float32' | 'float16'
  /** the variant of the attention kernel. @default 'auto': measured */
  readonly tile?: TileName | 'auto'
}

/** A backend on a device of its own. */
export interface WebGpuBackend extends Backend {
  readonly kind: 'webgpu'
  readonly gpu: GpuDevice
  readonly tile: TileChoice
}

/**
 * A backend that computes tasks in WGSL, float32, with no optional feature, within 1e-5 + 1e-5·|x|.
 *
 * A task rejects with NonFiniteInput when wasm must compute it, and with DeviceLost when the device is gone; in both
 * cases nothing of its output was written. Two tasks may run at once: one computes while the other's results are read
 * back.
 *
 * @param gpu the host's GPU; undefined looks for it (the browser's, or in Node the optional peer `webgpu`)
 * @throws {BackendUnavailableError} without an adapter or device
 */
export async function createWebGpuBackend(gpu?: GPU, options: WebGpuOptions = {}): Promise<WebGpuBackend> {
  const device = await GpuDevice.open(gpu, options)
  const tile = await chooseTile(device, options.tile)
  const half = options.storage === 'float16'
  let fallbacks: readonly Fallback[] = []
  const cache = new KeyValueCache(device, options.cacheBytes, half, () => (fallbacks = [TOO_LARGE_FOR_HALF]))
  const scratch = new ScratchPool(device)
  const weights = new ResidentWeights(device)
  const tools = { pacer: new PassPacer(), turns: new Turns() }
  const run: Backend['attention'] = (task, context) =>
    withLoss(device, () => attention({ gpu: device, cache, scratch, tile: tile.tile, task, context }, tools))
  return {
    kind: 'webgpu',
    overlap: GPU_OVERLAP,
    gpu: device,
    tile,
    facts: { ...device.facts, half },
    takeFallbacks: () => {
      const told = fallbacks
      fallbacks = []
      return told
    },
    residentBytes: () => device.residentBytes,
    takePeakBytes: () => device.takePeakBytes(),
    keptBytes: () => device.residentBytes - cache.bytes - scratch.bytes,
    attention: run,
    rows: (task, context) =>
      withLoss(device, () => runRowStage({ gpu: device, ...tools, weights, attention: run }, task, context)),
    release: (ids: readonly ArrayId[]) => {
      if (ids.length === 0) return
      cache.release(ids)
      scratch.release()
      device.takePeakBytes() // what the next call holds at most is not what this one did
    },
    dispose: () => device.dispose(),
  }
}

const TOO_LARGE_FOR_HALF: Fallback = {
  what: 'float32 in place of float16 for some keys or values',
  reason: `they pass ${LARGEST_HALF} in magnitude`,
}

/** A call on a lost device fails in many ways, some of them before the loss is known; what it means is the loss. */
async function withLoss<T>(gpu: GpuDevice, run: () => Promise<T>): Promise<T> {
  try {
    return await run()
  } catch (error) {
    const isRefusedMap = error instanceof Error && (error.name === 'AbortError' || error.name === 'OperationError')
    if (isRefusedMap) await gpu.settleLoss()
    if (gpu.lost !== null && !(error instanceof DeviceLost)) throw gpu.lost
    if (isRefusedMap)
      throw new BackendUnavailableError(
        `backend "webgpu": expected the device to give results back, but it refused: ${error.message}`,
        { cause: error },
      )
    throw error
  }
}

interface Tools {
  readonly pacer: PassPacer
  readonly turns: Turns
}

/** Reads the last block's results back after the turn: the next task has the device then. */
async function attention(resources: TaskResources, { pacer, turns }: Tools): Promise<AttentionTaskResult> {
  const { gpu, cache, task, context } = resources
  const startMs = performance.now()
  const results = new TaskResults(task, (id) => context.array(id))
  let last: AttentionBlock | null = null
  try {
    const { confirmed } = await turns.exclusive(() => {
      cache.limit(task.device?.cacheBytes)
      const sizes = blockSizesOf(gpu, task)
      return gpu.scoped('attention', async () => {
        for (let first = 0; first < task.rows; first += sizes.rows) {
          if (last !== null) await takeResult(last, results)
          last = new AttentionBlock(resources, pacer, sizes, first, Math.min(sizes.rows, task.rows - first))
          await last.run()
          if (task.weights !== undefined) await runWeights(resources, pacer, sizes, last, results)
        }
      })
    })
    await confirmed
    if (last !== null) await takeResult(last, results)
    last = null
  } finally {
    ;(last as AttentionBlock | null)?.dispose()
  }
  const { tiles, skipped } = countTiles(task, 0, task.rows)
  return { ...results.publish(), elapsedMs: performance.now() - startMs, tiles, skippedTiles: skipped }
}

async function takeResult(block: AttentionBlock, results: TaskResults): Promise<void> {
  results.add(block.first, block.rows, await block.result())
  block.dispose()
}

/** Weights of the block's selected rows, or of all of them in standard mode. */
async function runWeights(
  resources: TaskResources,
  pacer: PassPacer,
  sizes: GpuBlockSizes,
  block: AttentionBlock,
  results: TaskResults,
): Promise<void> {
  const { task } = resources
  const selected = task.weightRows ?? Int32Array.from({ length: task.rows }, (_, row) => row)
  const from = selected.findIndex((row) => row >= block.first)
  const places =
    from < 0 ? selected.subarray(0, 0) : selected.subarray(from).filter((row) => row < block.first + block.rows)
  if (places.length === 0) return
  results.weights(from, places.length, null, 0, { first: task.keyStart, count: task.keyEnd - task.keyStart })
  if (!block.seesKeys) return
  const inBlock = Uint32Array.from(places, (row) => row - block.first)
  const chosen = { rows: { places, count: places.length }, places: inBlock, matrixKeys: sizes.matrixKeys }
  await blockWeights(resources, pacer, block, chosen, (weights, stride, keys) => {
    results.weights(from, places.length, weights, stride, keys)
  })
}
