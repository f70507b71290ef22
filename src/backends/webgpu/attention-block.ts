import { gpuBufferBytes, gpuSplitKeys, type GpuBlockSizes } from '../../plan/gpu-memory.ts'
import type { BlockScratch } from './block-scratch.ts'
import { MAP_READ, TILE, USAGE } from './constants.ts'
import { largestMagnitude, SAFE_MAGNITUDE } from './finite.ts'
import { keysOfRows } from './key-range.ts'
import { attentionMergeKernel, mergeGroups, mergeParams } from './kernels/attention-merge.wgsl.ts'
import { asksForStatistics, ROW_RESULT_NAMES } from '../../protocol/row-results.ts'
import { attentionPartialKernel, valueSlices } from './kernels/attention-partial.wgsl.ts'
import type { PassPacer } from './pass-pacer.ts'
import {
  residentOf,
  scoreShapeOf,
  uploadParams,
  uploadQuery,
  uploadScoreInputs,
  type Pass,
  type TaskResources,
} from './score-inputs.ts'
import { NonFiniteInput } from './signals.ts'
import { tileFor, tileRows } from './tile-choice.ts'

/**
 * What a block's rows came to: `output` is [rows, ⌈Dv / 4⌉·4], `rowResults` five arrays of [rows] as `ROW_RESULT_NAMES`
 * lists them.
 */
export interface BlockResult {
  readonly output: Float32Array
  readonly rowResults: Uint32Array
}

/** Rows [first, first + rows) of a task over all of its keys: passes of partials, then their merge. */
export class AttentionBlock {
  readonly #resources: TaskResources
  readonly #pacer: PassPacer
  readonly #sizes: GpuBlockSizes
  readonly first: number
  readonly rows: number
  readonly #scratch: BlockScratch
  readonly #statistics: boolean
  #query: GPUBuffer | null = null
  #queryLargest = 0
  #slots = 0
  #mapped: Promise<undefined> | null = null

  constructor(resources: TaskResources, pacer: PassPacer, sizes: GpuBlockSizes, first: number, rows: number) {
    this.#resources = resources
    this.#pacer = pacer
    this.#sizes = sizes
    this.first = first
    this.rows = rows
    const { task, scratch } = resources
    this.#statistics = asksForStatistics(task)
    this.#scratch = scratch.take(sizes, task.settings.valueSize)
  }

  /** Slot 0 holds the rows' (m, l) once `result` is there. */
  get rowStates(): GPUBuffer {
    return this.#scratch.rowStates
  }

  /**
   * Submits all of the block's work. The device is free for the next block then, while this one's `result` is on its
   * way.
   *
   * @throws {NonFiniteInput} when what the rows may look at is not finite, or so large that a product overflows
   */
  async run(): Promise<void> {
    const { gpu, context } = this.#resources
    const rows = { first: this.first, count: this.rows }
    this.#query = uploadQuery(this.#resources, rows, (packed) => {
      this.#queryLargest = largestMagnitude(packed)
    })
    for (const pass of this.passes(() => this.#passKeys())) {
      const encoder = gpu.device.createCommandEncoder({ label: 'heddle.attention' })
      const spent = await this.#encodePass(encoder, pass)
      const pairs = this.rows * (pass.end - pass.start)
      await this.#pacer.submit(
        gpu,
        encoder.finish(),
        pairs * 4 * (scoreShapeOf(this.#resources.task).headQuads + this.#valueQuads),
      )
      gpu.free(...spent)
      const turn = context.pace()
      if (turn !== undefined) await turn
    }
    if (this.#slots > 0) await this.#finish()
  }

  /** The key ranges that some row may look at, none across a segment of the cache, `keys()` long at most. */
  *passes(keys: () => number): Generator<Pass> {
    const { cache, task } = this.#resources
    const range = keysOfRows(task, this.first, this.rows)
    const segmentKeys = cache.segmentKeys(Math.max(task.settings.headSize, task.settings.valueSize))
    for (let key = range.start; key < range.end;) {
      const segmentStart = Math.floor(key / segmentKeys) * segmentKeys
      const end = Math.min(range.end, segmentStart + segmentKeys, key + Math.max(TILE, keys()))
      yield { start: key - segmentStart, end: end - segmentStart, segmentStart, segmentKeys }
      key = end
    }
  }

  get seesKeys(): boolean {
    return this.#slots > 0
  }

  /** What the rows came to; null where none of them may see a key. */
  async result(): Promise<BlockResult | null> {
    if (this.#mapped === null) return null
    await this.#mapped
    const outputBytes = this.rows * this.#valueQuads * 16
    const bytes = outputBytes + this.rows * ROW_RESULT_NAMES.length * 4
    const mapped = this.#scratch.staging.getMappedRange(0, gpuBufferBytes(bytes)).slice(0, bytes)
    this.#scratch.staging.unmap()
    this.#mapped = null
    return { output: new Float32Array(mapped, 0, outputBytes / 4), rowResults: new Uint32Array(mapped, outputBytes) }
  }

  /** Gives its buffers to the next block; a result that was not read takes them along. */
  dispose(): void {
    const { gpu, scratch } = this.#resources
    if (this.#query !== null) gpu.free(this.#query)
    if (this.#mapped === null) scratch.put(this.#scratch)
    else scratch.drop(this.#scratch)
  }

  get #valueQuads(): number {
    return Math.ceil(this.#resources.task.settings.valueSize / 4)
  }

  /** Keys for the next pass: a multiple of the tile, as many as fit the time and the memory of a pass. */
  #passKeys(): number {
    const { task } = this.#resources
    const { headQuads } = scoreShapeOf(task)
    const fitting =
      this.#pacer.multiplyAdds /
      (this.rows * 4 * (headQuads * valueSlices({ valueQuads: this.#valueQuads }) + this.#valueQuads))
    const most = task.mask !== undefined || task.bias !== undefined ? this.#sizes.matrixKeys : this.#sizes.keys
    return Math.floor(Math.min(fitting, most) / TILE) * TILE
  }

  /** Encodes a pass's partials into the next slots; returns the buffers that are free once it is submitted. */
  async #encodePass(encoder: GPUCommandEncoder, pass: Pass): Promise<GPUBuffer[]> {
    const { gpu, task } = this.#resources
    const { headSize, valueSize } = task.settings
    const key = residentOf(this.#resources, task.key, headSize, pass)
    const value = residentOf(this.#resources, task.value, valueSize, pass)
    this.#checkRange(key.largest, value.largest)
    const score = scoreShapeOf(task, key.half)
    const tile = tileFor(this.#resources.tile, gpu, { score, valueQuads: this.#valueQuads })
    const shape = { score, valueQuads: this.#valueQuads, halfValues: value.half, tile }
    const options = { dropout: task.settings.dropout !== null, statistics: this.#statistics }
    const pipeline = await gpu.pipeline(attentionPartialKernel({ ...options, ...shape }))
    const groups = {
      rows: Math.ceil(this.rows / tileRows(tile)),
      slices: valueSlices({ valueQuads: this.#valueQuads }),
    }
    const splitKeys = gpuSplitKeys(gpu.facts, pass.end - pass.start, groups.rows * groups.slices, this.#sizes.slots)
    const splits = Math.ceil((pass.end - pass.start) / splitKeys)
    const spent: GPUBuffer[] = []
    if (this.#slots + splits > this.#sizes.slots) spent.push(...(await this.#encodeMerge(encoder, null)))
    const params = uploadParams(this.#resources, this.first, this.rows, pass, { splitKeys, slot: this.#slots })
    spent.push(params)
    const { partials } = this.#scratch
    const query = this.#query as GPUBuffer
    const entries = [
      ...bindings({ 0: params, 1: query, 2: key.buffer, 6: value.buffer, 7: partials, 8: this.rowStates }),
      ...uploadScoreInputs(this.#resources, { first: this.first, count: this.rows }, pass, spent),
    ]
    const compute = encoder.beginComputePass({ label: 'heddle.attention-partial' })
    compute.setPipeline(pipeline)
    compute.setBindGroup(0, gpu.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
    compute.dispatchWorkgroups(groups.rows, splits, groups.slices)
    compute.end()
    this.#slots += splits
    return spent
  }

  /** Merges all slots into the first; with `results` also writes what the block came to. */
  async #encodeMerge(
    encoder: GPUCommandEncoder,
    results: { output: GPUBuffer; rowResults: GPUBuffer } | null,
  ): Promise<GPUBuffer[]> {
    const { gpu } = this.#resources
    const pipeline = await gpu.pipeline(attentionMergeKernel(this.#valueQuads))
    const values = {
      rows: this.rows,
      slots: this.#slots,
      last: results === null ? 0 : 1,
      statistics: this.#statistics ? 1 : 0,
    }
    const params = gpu.upload(
      'merge-params',
      mergeParams.byteLength,
      (mapped) => mergeParams.write(mapped, values),
      USAGE.uniform,
    )
    const { output, rowResults } = results ?? scratchResults(gpu)
    const entries = bindings({ 0: params, 1: this.#scratch.partials, 2: this.rowStates, 3: output, 4: rowResults })
    const compute = encoder.beginComputePass({ label: 'heddle.attention-merge' })
    compute.setPipeline(pipeline)
    compute.setBindGroup(0, gpu.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }))
    compute.dispatchWorkgroups(mergeGroups(this.rows))
    compute.end()
    this.#slots = 1
    return results === null ? [params, output, rowResults] : [params]
  }

  async #finish(): Promise<void> {
    const { gpu } = this.#resources
    const outputBytes = this.rows * this.#valueQuads * 16
    const rowBytes = this.rows * ROW_RESULT_NAMES.length * 4
    const { output, rowResults, staging } = this.#scratch
    const encoder = gpu.device.createCommandEncoder({ label: 'heddle.attention-finish' })
    const spent = await this.#encodeMerge(encoder, { output, rowResults })
    encoder.copyBufferToBuffer(output, 0, staging, 0, outputBytes)
    encoder.copyBufferToBuffer(rowResults, 0, staging, outputBytes, rowBytes)
    gpu.device.queue.submit([encoder.finish()])
    gpu.free(...spent)
    this.#mapped = gpu.race(staging.mapAsync(MAP_READ))
    this.#mapped.catch(() => undefined)
  }

  /** Bounds every intermediate by magnitudes: below them nothing overflows, so WGSL never meets an infinity. */
  #checkRange(keyLargest: number, valueLargest: number): void {
    const { settings, alibiSlope, rowStart, queryOffset } = this.#resources.task
    if (!Number.isFinite(this.#queryLargest)) throw new NonFiniteInput('the query')
    if (!Number.isFinite(keyLargest)) throw new NonFiniteInput('the key')
    const farthest = Math.abs(rowStart + queryOffset) + this.rows + this.first + settings.keys
    const dots = this.#queryLargest * keyLargest * settings.headSize
    const scores = dots * Math.max(1, Math.abs(settings.scale)) + Math.abs(alibiSlope) * farthest
    if (!(scores < SAFE_MAGNITUDE)) throw new NonFiniteInput('the product of query and key')
    const keepScale = Number.isFinite(settings.dropout?.keepScale ?? 1) ? (settings.dropout?.keepScale ?? 1) : 1
    if (!(valueLargest * settings.keys * keepScale < SAFE_MAGNITUDE)) throw new NonFiniteInput('the value')
  }
}

/** A merge on the way has no results; the bindings must be there all the same. */
function scratchResults(gpu: TaskResources['gpu']): { output: GPUBuffer; rowResults: GPUBuffer } {
  return { output: gpu.storage('unused', 16), rowResults: gpu.storage('unused', 16) }
}

export function bindings(buffers: Readonly<Record<number, GPUBuffer>>): GPUBindGroupEntry[] {
  return Object.entries(buffers).map(([binding, buffer]) => ({ binding: Number(binding), resource: { buffer } }))
}
