import { roundUp } from '../../core/integers.ts'
import type { RowStageTask, RowStep } from '../../protocol/stage.ts'
import { isWasmStep, type WasmStep } from '../../protocol/wasm-steps.ts'
import type { TaskContext } from '../backend.ts'
import { bindings } from './attention-block.ts'
import { TILE, USAGE } from './constants.ts'
import { largestMagnitude } from './finite.ts'
import type { GpuDevice } from './gpu-device.ts'
import { activationKernel } from './kernels/activation.wgsl.ts'
import type { Kernel } from './kernels/kernel.ts'
import { layerNormKernel, layerNormParams } from './kernels/layer-norm.wgsl.ts'
import { linearKernel, linearParams } from './kernels/linear.wgsl.ts'
import { rmsNormKernel, rmsNormParams } from './kernels/rms-norm.wgsl.ts'
import { rmsNormHeadsKernel } from './kernels/rms-norm-heads.wgsl.ts'
import { rotaryKernel } from './kernels/rotary.wgsl.ts'
import { rowAddKernel, rowMultiplyKernel } from './kernels/row-add.wgsl.ts'
import { rowDropoutKernel, rowDropoutParams } from './kernels/row-dropout.wgsl.ts'
import { rowScaleKernel, rowScaleParams } from './kernels/row-scale.wgsl.ts'
import { packRows } from './pack-rows.ts'
import type { ResidentWeights } from './resident-weights.ts'
import { NonFiniteInput } from './signals.ts'

type StepOf<Op extends RowStep['op']> = Extract<RowStep, { op: Op }>
type StoreOp = 'store' | 'store-heads'
type Groups = readonly [x: number, y?: number]

/** What a stage of one task works with. */
export interface StageResources {
  readonly gpu: GpuDevice
  readonly weights: ResidentWeights
  readonly task: RowStageTask
  readonly context: TaskContext
}

/**
 * Encodes a stage's steps over rows [first, first + rows) of its chunk; registers are device buffers [rows, ⌈width /
 * 4⌉].
 */
export class RowSteps {
  readonly #gpu: GpuDevice
  readonly #weights: ResidentWeights
  readonly #task: RowStageTask
  readonly #context: TaskContext
  readonly #encoder: GPUCommandEncoder
  readonly #first: number
  readonly #rows: number
  readonly #registers: (GPUBuffer | undefined)[] = []
  /** what is free once the commands are submitted */
  readonly spent: GPUBuffer[] = []

  constructor(
    { gpu, weights, task, context }: StageResources,
    encoder: GPUCommandEncoder,
    { first, count }: { readonly first: number; readonly count: number },
  ) {
    this.#gpu = gpu
    this.#weights = weights
    this.#task = task
    this.#context = context
    this.#encoder = encoder
    this.#first = first
    this.#rows = count
  }

  /** What each step becomes. A step without an entry does not compile, unless it is one of `WASM_STEPS`. */
  static readonly #ENCODERS: {
    readonly [Op in Exclude<RowStep['op'], StoreOp | WasmStep>]: (
      to: RowSteps,
      step: StepOf<Op>,
    ) => Promise<void> | void
  } = {
    load: (to, step) => to.#load(step),
    embed: (to, step) => to.#embed(step),
    linear: (to, step) => to.#linear(step),
    norm: (to, step) => to.#norm(step),
    'rms-norm': (to, step) => to.#rmsNorm(step),
    'rms-norm-heads': (to, step) => to.#rmsNormHeads(step),
    copy: (to, step) => to.#copy(step),
    add: (to, step) => to.#combine(rowAddKernel, step),
    multiply: (to, step) => to.#combine(rowMultiplyKernel, step),
    scale: (to, step) => to.#scale(step),
    activate: (to, step) => to.#activate(step),
    drop: (to, step) => to.#drop(step),
    rotate: (to, step) => to.#rotate(step),
  }

  /** Encodes one step; a store returns the buffer that its rows will be in. */
  async encode(step: RowStep): Promise<GPUBuffer | undefined> {
    if (step.op === 'store' || step.op === 'store-heads') return this.#copyOut(step.from)
    if (isWasmStep(step.op)) throw new RangeError(`stage: expected a step with a WebGPU kernel, got ${step.op}`)
    const encoder = RowSteps.#ENCODERS[step.op] as (to: RowSteps, step: RowStep) => Promise<void> | void
    await encoder(this, step)
    return undefined
  }

  width(register: number): number {
    return this.#task.registers[register] as number
  }

  #quads(register: number): number {
    return Math.ceil(this.width(register) / 4)
  }

  #load({ to, from }: StepOf<'load'>): void {
    const [width, stride] = [this.width(to), roundUp(this.width(to), 4)]
    this.#fill(to, (target) => {
      packRows(
        this.#context.array(from.array),
        from,
        { first: this.#first, count: this.#rows },
        { first: 0, count: width },
        { data: target, stride: stride },
      )
      if (largestMagnitude(target) === Infinity) throw new NonFiniteInput('an input of the stage')
    })
  }

  #embed({ to, tokens, table, scale }: StepOf<'embed'>): void {
    const [width, stride] = [this.width(to), roundUp(this.width(to), 4)]
    const [ids, source] = [this.#context.array(tokens.array), this.#context.array(table.array)]
    this.#fill(to, (target) => {
      for (let row = 0; row < this.#rows; row++) {
        const token = ids[tokens.offset + (this.#first + row) * tokens.rowStride] as number
        const from = table.offset + token * table.rowStride
        for (let c = 0; c < width; c++) target[row * stride + c] = scale * (source[from + c] as number)
      }
      if (largestMagnitude(target) === Infinity) throw new NonFiniteInput('an embedding')
    })
  }

  async #linear({ from, to, weight, bias }: StepOf<'linear'>): Promise<void> {
    const output = this.#fresh(to)
    const outQuads = this.#quads(to)
    for (const part of this.#weights.matrix(weight, this.#context)) {
      const params = this.#params(linearParams.byteLength, (mapped) => {
        linearParams.write(mapped, { rows: this.#rows, outFirst: part.first, outCount: part.count, outQuads })
      })
      const buffers = {
        0: params,
        1: this.#held(from),
        2: part.buffer,
        3: output,
        ...(bias === null ? {} : { 4: this.#weights.vector(bias, this.#context) }),
      }
      await this.#dispatch(linearKernel(this.#quads(from), bias !== null), buffers, [
        Math.ceil(this.#rows / TILE),
        Math.ceil(part.count / TILE),
      ])
    }
    this.#set(to, output)
  }

  async #norm({ from, to, weight, bias, epsilon }: StepOf<'norm'>): Promise<void> {
    const output = this.#fresh(to)
    const params = this.#params(layerNormParams.byteLength, (mapped) => layerNormParams.write(mapped, { epsilon }))
    const biases = bias === null ? {} : { 3: this.#weights.vector(bias, this.#context) }
    const buffers = {
      0: params,
      1: this.#held(from),
      2: this.#weights.vector(weight, this.#context),
      ...biases,
      4: output,
    }
    await this.#dispatch(layerNormKernel(this.width(from), bias !== null), buffers, [this.#rows])
    this.#set(to, output)
  }

  async #rmsNorm({ from, to, weight, epsilon }: StepOf<'rms-norm'>): Promise<void> {
    const output = this.#fresh(to)
    const params = this.#params(rmsNormParams.byteLength, (mapped) => rmsNormParams.write(mapped, { epsilon }))
    await this.#dispatch(
      rmsNormKernel(this.width(from)),
      { 0: params, 1: this.#held(from), 2: this.#weights.vector(weight, this.#context), 3: output },
      [this.#rows],
    )
    this.#set(to, output)
  }

  async #rmsNormHeads({ from, to, headSize, weight, epsilon }: StepOf<'rms-norm-heads'>): Promise<void> {
    const output = this.#fresh(to)
    const width = this.width(from)
    const params = this.#params(rmsNormParams.byteLength, (mapped) => rmsNormParams.write(mapped, { epsilon }))
    const weights = weight === null ? {} : { 2: this.#weights.vector(weight, this.#context) }
    await this.#dispatch(
      rmsNormHeadsKernel(width, headSize, weight !== null),
      { 0: params, 1: this.#held(from), ...weights, 3: output },
      [this.#rows, width / headSize],
    )
    this.#set(to, output)
  }

  async #combine(kernelOf: (quads: number) => Kernel, { from, to }: StepOf<'add' | 'multiply'>): Promise<void> {
    await this.#dispatch(kernelOf(this.#quads(to)), { 1: this.#held(to), 2: this.#held(from) }, this.#elementwise(to))
  }

  #copy({ from, to }: StepOf<'copy'>): void {
    const output = this.#fresh(to)
    this.#encoder.copyBufferToBuffer(this.#held(from), 0, output, 0, this.#rows * this.#quads(from) * 16)
    this.#set(to, output)
  }

  async #scale({ register, factor }: StepOf<'scale'>): Promise<void> {
    const params = this.#params(rowScaleParams.byteLength, (mapped) => rowScaleParams.write(mapped, { factor }))
    const buffers = { 0: params, 1: this.#held(register) }
    await this.#dispatch(rowScaleKernel(this.#quads(register)), buffers, this.#elementwise(register))
  }

  async #activate({ register, activation }: StepOf<'activate'>): Promise<void> {
    await this.#dispatch(
      activationKernel(activation, this.#quads(register)),
      { 1: this.#held(register) },
      this.#elementwise(register),
    )
  }

  async #drop({ register, dropout }: StepOf<'drop'>): Promise<void> {
    const all = dropout.threshold >= 2 ** 32
    const { site, seedLow, seedHigh } = dropout
    const words = {
      site,
      seedLow,
      seedHigh,
      threshold: all ? 0 : dropout.threshold,
      keepScale: all ? 0 : dropout.keepScale,
    }
    const firstRow = this.#task.rowStart + this.#first
    const params = this.#params(rowDropoutParams.byteLength, (mapped) =>
      rowDropoutParams.write(mapped, { firstRow, batch: this.#task.batch, ...words }),
    )
    await this.#dispatch(
      rowDropoutKernel(this.#quads(register)),
      { 0: params, 1: this.#held(register) },
      this.#elementwise(register),
    )
  }

  async #rotate({ register, headSize, turned, table }: StepOf<'rotate'>): Promise<void> {
    const stride = roundUp(turned, 4)
    const angles = this.#gpu.upload('rotary-table', this.#rows * stride * 4, (mapped) => {
      const rows = { first: this.#first, count: this.#rows }
      packRows(
        this.#context.array(table.array),
        table,
        rows,
        { first: 0, count: turned },
        { data: new Float32Array(mapped, 0, this.#rows * stride), stride: stride },
      )
    })
    this.spent.push(angles)
    const pairs = ((this.width(register) / headSize) * turned) / 2
    await this.#dispatch(rotaryKernel(this.width(register), headSize, turned), { 1: this.#held(register), 2: angles }, [
      Math.ceil(pairs / 64),
      this.#rows,
    ])
  }

  /** A copy of the register as it is at this step. */
  #copyOut(register: number): GPUBuffer {
    const byteLength = this.#rows * this.#quads(register) * 16
    const staging = this.#gpu.staging('stage-out', byteLength)
    this.#encoder.copyBufferToBuffer(this.#held(register), 0, staging, 0, byteLength)
    return staging
  }

  async #dispatch(kernel: Kernel, buffers: Readonly<Record<number, GPUBuffer>>, [x, y = 1]: Groups): Promise<void> {
    const pipeline = await this.#gpu.pipeline(kernel)
    const group = this.#gpu.device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: bindings(buffers),
    })
    const pass = this.#encoder.beginComputePass({ label: kernel.label })
    pass.setPipeline(pipeline)
    pass.setBindGroup(0, group)
    pass.dispatchWorkgroups(x, y)
    pass.end()
  }

  #elementwise(register: number): Groups {
    return [Math.ceil(this.#quads(register) / 64), this.#rows]
  }

  #params(byteLength: number, write: (mapped: ArrayBuffer) => void): GPUBuffer {
    const buffer = this.#gpu.upload('params', byteLength, write, USAGE.uniform)
    this.spent.push(buffer)
    return buffer
  }

  /** Gives a register rows from the host. */
  #fill(register: number, fill: (target: Float32Array) => void): void {
    const elements = this.#rows * this.#quads(register) * 4
    const buffer = this.#gpu.upload(
      'register',
      elements * 4,
      (mapped) => fill(new Float32Array(mapped, 0, elements)),
      USAGE.storage | USAGE.copySource,
    )
    this.spent.push(buffer)
    this.#set(register, buffer)
  }

  #fresh(register: number): GPUBuffer {
    const buffer = this.#gpu.storage('register', this.#rows * this.#quads(register) * 16)
    this.spent.push(buffer)
    return buffer
  }

  #set(register: number, buffer: GPUBuffer): void {
    this.#registers[register] = buffer
  }

  #held(register: number): GPUBuffer {
    const buffer = this.#registers[register]
    if (buffer === undefined) throw new RangeError(`stage: register ${register} is read before it is written`)
    return buffer
  }
}
