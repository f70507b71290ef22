import { MemoryBudgetError } from '../../core/errors.ts'
import type { AttentionSizes } from '../../plan/attention-sizes.ts'
import { gpuSplitKeys, type GpuBlockSizes } from '../../plan/gpu-memory.ts'
import type { AttentionTask, TaskArray } from '../../protocol/task.ts'
import { USAGE } from '../../backends/webgpu/constants.ts'
import type { GpuDevice } from '../../backends/webgpu/gpu-device.ts'
import { attentionMergeKernel, mergeGroups, mergeParams } from '../../backends/webgpu/kernels/attention-merge.wgsl.ts'
import { attentionPartialKernel, valueSlices } from '../../backends/webgpu/kernels/attention-partial.wgsl.ts'
import type { Kernel } from '../../backends/webgpu/kernels/kernel.ts'
import { scoreShapeOf, uploadParams, uploadScoreInputs, type Pass } from '../../backends/webgpu/score-inputs.ts'
import { tileFor, tileRows, type TileName } from '../../backends/webgpu/tile-choice.ts'

/** The device buffers of a call: [B, heads, rows, columns padded to four], the bias with ones where it is broadcast. */
export interface HeadBuffers {
  readonly query: GPUBuffer
  readonly key: GPUBuffer
  readonly value: GPUBuffer
  readonly bias: { readonly buffer: GPUBuffer; readonly shape: readonly number[] } | null
  readonly output: GPUBuffer
}

/** What the splits of a block come to, before they are merged. */
interface BlockPartials {
  readonly partials: GPUBuffer
  readonly rowStates: GPUBuffer
}

/** What a call's heads have in common. */
export interface HeadCall {
  readonly task: AttentionTask
  readonly sizes: AttentionSizes
  readonly buffers: HeadBuffers
  readonly arrays: ReadonlyMap<number, TaskArray>
}

/** A binding must start at a multiple of this. */
const ALIGNMENT = 256
/** Rows of a block: with any number of vectors a row, each block then starts aligned if the head does. */
const ROW_STEP = 16

/** One head's attention, dispatched at once: blocks of rows over all keys, split over workgroups, then merged. */
export class GpuHead {
  readonly #scratch: GPUBuffer[] = []
  readonly #encoder: GPUCommandEncoder

  readonly #call: HeadCall

  constructor(
    private readonly gpu: GpuDevice,
    call: HeadCall,
    private readonly tile: TileName = 'base',
  ) {
    this.#call = call
    this.#encoder = gpu.device.createCommandEncoder({ label: 'heddle.tfjs-attention' })
  }

  /** @throws {MemoryBudgetError} when one head's keys pass what the device can bind */
  run(batch: number, head: number, { rows, slots }: GpuBlockSizes): void {
    const step = rows >= this.#call.sizes.queries ? rows : Math.max(ROW_STEP, Math.floor(rows / ROW_STEP) * ROW_STEP)
    for (let first = 0; first < this.#call.sizes.queries; first += step)
      this.#block(batch, head, first, Math.min(step, this.#call.sizes.queries - first), slots)
    this.gpu.device.queue.submit([this.#encoder.finish()])
    this.gpu.free(...this.#scratch)
  }

  #block(batch: number, head: number, first: number, rows: number, slots: number): void {
    const { gpu } = this
    const { task, sizes } = this.#call
    const valueQuads = Math.ceil(sizes.valueSize / 4)
    const shape = {
      score: scoreShapeOf(task),
      valueQuads,
      dropout: task.settings.dropout !== null,
      statistics: false,
      halfValues: false,
      tile: tileFor(this.tile, gpu, { score: scoreShapeOf(task), valueQuads }),
    }
    const rowGroups = Math.ceil(rows / tileRows(shape.tile))
    const groups = rowGroups * valueSlices(shape)
    const splitKeys = gpuSplitKeys(gpu.facts, sizes.keys, groups, slots)
    const splits = Math.ceil(sizes.keys / splitKeys)
    const partials = this.#keep(gpu.storage('partials', splits * rows * valueQuads * 16))
    const rowStates = this.#keep(gpu.storage('row-states', splits * rows * 32))
    const pass = { start: 0, end: sizes.keys, segmentStart: 0, segmentKeys: sizes.keys }
    this.#dispatch(
      attentionPartialKernel(shape),
      [
        {
          binding: 0,
          resource: { buffer: this.#keep(uploadParams({ gpu, task }, first, rows, pass, { splitKeys, slot: 0 })) },
        },
        ...this.#inputs(batch, head, first, rows),
        ...this.#segments(first, rows, pass),
        { binding: 7, resource: { buffer: partials } },
        { binding: 8, resource: { buffer: rowStates } },
      ],
      [rowGroups, splits, valueSlices(shape)],
    )
    const start = (batch * sizes.heads + head) * sizes.queries + first
    this.#merge(start, rows, splits, { partials, rowStates })
  }

  #inputs(batch: number, head: number, first: number, rows: number): GPUBindGroupEntry[] {
    const { sizes, buffers } = this.#call
    const { heads, keyValueHeads, queries, keys, headSize, valueSize } = sizes
    const [rowBytes, valueBytes] = [Math.ceil(headSize / 4) * 16, Math.ceil(valueSize / 4) * 16]
    const source = batch * keyValueHeads + Math.floor((head * keyValueHeads) / heads)
    const entries = [
      {
        binding: 1,
        resource: this.#region(buffers.query, ((batch * heads + head) * queries + first) * rowBytes, rows * rowBytes),
      },
      { binding: 2, resource: this.#region(buffers.key, source * keys * rowBytes, keys * rowBytes) },
      { binding: 6, resource: this.#region(buffers.value, source * keys * valueBytes, keys * valueBytes) },
    ]
    if (buffers.bias === null) return entries
    const [B = 1, H = 1, M = 1] = buffers.bias.shape
    const columnBytes = Math.ceil(keys / 4) * 16
    const row = ((B === 1 ? 0 : batch) * H + (H === 1 ? 0 : head)) * M + (M === 1 ? 0 : first)
    return [
      ...entries,
      {
        binding: 4,
        resource: this.#region(buffers.bias.buffer, row * columnBytes, (M === 1 ? 1 : rows) * columnBytes),
      },
    ]
  }

  #segments(first: number, rows: number, pass: Pass): GPUBindGroupEntry[] {
    const { querySegments, keySegments } = this.#call.task
    if (querySegments === undefined || keySegments === undefined) return []
    const { bias, ...task } = this.#call.task
    void bias
    const context = { array: (id: number) => this.#call.arrays.get(id) as TaskArray, pace: () => undefined }
    return uploadScoreInputs({ gpu: this.gpu, task, context }, { first, count: rows }, pass, this.#scratch)
  }

  /** @param firstRow of the output over all batches and heads */
  #merge(firstRow: number, rows: number, splits: number, { partials, rowStates }: BlockPartials): void {
    const { gpu } = this
    const { sizes, buffers } = this.#call
    const valueQuads = Math.ceil(sizes.valueSize / 4)
    const [start, bytes] = [firstRow * valueQuads * 16, rows * valueQuads * 16]
    const aligned = start % ALIGNMENT === 0
    const output = aligned
      ? { buffer: buffers.output, offset: start, size: bytes }
      : { buffer: this.#keep(gpu.storage('output', bytes)), size: bytes }
    const values = { rows, slots: splits, last: 1, statistics: 0 }
    const params = this.#keep(
      gpu.upload('merge-params', mergeParams.byteLength, (mapped) => mergeParams.write(mapped, values), USAGE.uniform),
    )
    this.#dispatch(
      attentionMergeKernel(valueQuads),
      [
        { binding: 0, resource: { buffer: params } },
        { binding: 1, resource: { buffer: partials } },
        { binding: 2, resource: { buffer: rowStates } },
        { binding: 3, resource: output },
        { binding: 4, resource: { buffer: this.#keep(gpu.storage('row-results', rows * 4)) } },
      ],
      [mergeGroups(rows)],
    )
    if (!aligned) this.#encoder.copyBufferToBuffer(output.buffer, 0, buffers.output, start, bytes)
  }

  /** A part of a buffer for a binding; copied where its start is not aligned. */
  #region(buffer: GPUBuffer, offset: number, size: number): GPUBufferBinding {
    if (size > this.gpu.largestBufferBytes) {
      throw new MemoryBudgetError(
        `attention: expected a head of up to ${this.gpu.largestBufferBytes} bytes on this device, got ${size}`,
      )
    }
    if (offset % ALIGNMENT === 0) return { buffer, offset, size }
    const copy = this.#keep(this.gpu.storage('part', size))
    this.#encoder.copyBufferToBuffer(buffer, offset, copy, 0, size)
    return { buffer: copy, size }
  }

  #dispatch(kernel: Kernel, entries: readonly GPUBindGroupEntry[], [x = 1, y = 1, z = 1]: readonly number[]): void {
    const pipeline = this.gpu.pipelineNow(kernel)
    const pass = this.#encoder.beginComputePass({ label: kernel.label })
    pass.setPipeline(pipeline)
    pass.setBindGroup(
      0,
      this.gpu.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries: [...entries] }),
    )
    pass.dispatchWorkgroups(x, y, z)
    pass.end()
  }

  #keep(buffer: GPUBuffer): GPUBuffer {
    this.#scratch.push(buffer)
    return buffer
  }
}
