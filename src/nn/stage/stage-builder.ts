import type { SeedWords } from '../../core/philox.ts'
import type { Activation, Register } from '../../protocol/stage.ts'
import type { StageTemplate } from '../../protocol/stage-template.ts'
import type { Parameter } from '../../program/parameter.ts'
import type { HeadBuffer, RowBuffer, StageBuffer } from './buffers.ts'
import type { StageAttention } from './stage-attention.ts'
import { wholeWeight, type StageBinder, type WeightPart } from './stage-binder.ts'

/** Dropout of one place in a stage. */
export interface DropoutRule {
  readonly probability: number
  readonly seed: SeedWords
  /** ≥ 1; tells the dropouts of one stage apart */
  readonly site: number
}

/** Where the chunk's part of a result belongs, for results that come back with the task. */
export interface ReturnedRows {
  readonly buffer: StageBuffer
  /** rows that the buffer's rows are ahead of the chunk's: a cache's length */
  readonly shift: number
}

/** A tensor on its way, for traces: `linear1` [B, M, 2048]. */
export interface TracedShape {
  readonly step: string
  readonly shape: readonly number[]
}

/** What a stage is, before its data exist: enough to plan it, and to bind it to each chunk when they do. */
export interface Stage {
  /** the layer's path and the part that runs, for traces and messages */
  readonly name: string
  /** B and M: the rows that it is cut into */
  readonly batch: number
  readonly rows: number
  readonly registers: readonly number[]
  readonly weights: readonly WeightPart[]
  /** parameters whose rows are looked up */
  readonly tables: readonly Parameter[]
  readonly attention: StageAttention | null
  readonly reads: readonly StageBuffer[]
  readonly writes: readonly ReturnedRows[]
  /** multiply-adds count as two; attention is not in it */
  readonly flopsPerRow: number
  readonly shapes: readonly TracedShape[]
  bind(binder: StageBinder, lane: LaneLimits): StageTemplate
}

/** What a lane sets aside for stages, as planned for the whole pass. */
export type LaneLimits = Pick<StageTemplate, 'registerBytes' | 'residentLimitBytes'>

/** Builds a stage operation by operation. Registers are given back with `release`, so that a stage stays in few of them. */
export class StageBuilder {
  readonly #registers: number[] = []
  readonly #free: Register[] = []
  readonly #weights: WeightPart[] = []
  readonly #tables: Parameter[] = []
  readonly #reads = new Set<StageBuffer>()
  readonly #writes: ReturnedRows[] = []
  readonly #binders: ((binder: StageBinder) => StageTemplate['steps'][number])[] = []
  readonly #shapes: TracedShape[] = []
  #attention: StageAttention | null = null
  #flopsPerRow = 0

  constructor(
    readonly name: string,
    readonly batch: number,
    readonly rows: number,
  ) {}

  width(register: Register): number {
    return this.#registers[register] ?? 0
  }

  release(register: Register): void {
    this.#free.push(register)
  }

  /** Says that a tensor of this shape was made on the way. */
  trace(step: string, ...shape: readonly number[]): void {
    this.#shapes.push({ step, shape })
  }

  /**
   * The chunk's rows of a buffer.
   *
   * @param shift the chunk's row r is row r + shift of the buffer, as in a table by position
   */
  load(buffer: RowBuffer, shift = 0): Register {
    const to = this.#take(buffer.width)
    this.#reads.add(buffer)
    this.#binders.push((binder) => ({ op: 'load', to, from: binder.rows(buffer, shift) }))
    return to
  }

  /** scale · table[token] for each row. */
  embed(tokens: RowBuffer, table: Parameter, scale: number): Register {
    const width = table.shape[1] ?? 0
    const to = this.#take(width)
    this.#reads.add(tokens)
    this.#tables.push(table)
    this.#binders.push((binder) => ({
      op: 'embed',
      to,
      tokens: binder.rows(tokens),
      table: binder.table(table, width),
      scale,
    }))
    return to
  }

  /** from · Wᵀ + b. */
  linear(from: Register, weight: WeightPart, bias: WeightPart | null): Register {
    const to = this.#take(weight.outSize)
    this.#weights.push(weight, ...(bias === null ? [] : [bias]))
    this.#flopsPerRow += 2 * weight.outSize * weight.inSize
    this.#binders.push((binder) => ({ op: 'linear', from, to, weight: binder.weight(weight), bias: bias === null ? null : binder.weight(bias) }))
    return to
  }

  norm(from: Register, weight: Parameter, bias: Parameter, epsilon: number): Register {
    const to = this.#take(this.width(from))
    const [weightPart, biasPart] = [wholeWeight(weight), wholeWeight(bias)]
    this.#weights.push(weightPart, biasPart)
    this.#binders.push((binder) => ({ op: 'norm', from, to, weight: binder.weight(weightPart), bias: binder.weight(biasPart), epsilon }))
    return to
  }

  /** into += from; `from` is given back. */
  add(into: Register, from: Register): void {
    this.#binders.push(() => ({ op: 'add', from, to: into }))
    this.release(from)
  }

  activate(register: Register, activation: Activation): void {
    this.#binders.push(() => ({ op: 'activate', register, activation }))
  }

  drop(register: Register, rule: DropoutRule | null): void {
    if (rule === null || rule.probability === 0) return
    const { probability, seed, site } = rule
    const dropout = { threshold: Math.floor(probability * 2 ** 32), keepScale: probability === 1 ? 0 : 1 / (1 - probability), ...seed, site }
    this.#binders.push(() => ({ op: 'drop', register, dropout }))
  }

  /** Rotary positions on every head; row r of the sequence has the angles of row r + shift of the table. */
  rotate(register: Register, table: RowBuffer, shift: number): void {
    this.#reads.add(table)
    this.#binders.push((binder) => ({ op: 'rotate', register, headSize: table.width, table: binder.rows(table, shift) }))
  }

  store(from: Register, buffer: RowBuffer): void {
    this.#writes.push({ buffer, shift: 0 })
    this.#binders.push((binder) => ({ op: 'store', from, to: binder.destination(buffer) }))
  }

  /** @param shift rows of the buffer before the chunk's first: what a cache holds already */
  storeHeads(from: Register, buffer: HeadBuffer, shift = 0): void {
    this.#writes.push({ buffer, shift })
    const { heads } = buffer
    this.#binders.push((binder) => ({ op: 'store-heads', from, heads, to: binder.headDestination(buffer, shift) }))
  }

  /** Attention of the chunk over all keys; at most once a stage, and before all else. */
  attend(attention: StageAttention): Register {
    const width = attention.query.heads * attention.value.headSize
    const to = this.#take(width)
    this.#attention = attention
    for (const buffer of [attention.query, attention.key, attention.value]) this.#reads.add(buffer)
    this.#binders.push(() => ({ op: 'load', to, from: attention.context }))
    return to
  }

  finish(): Stage {
    const [binders, registers, attention] = [this.#binders, this.#registers, this.#attention]
    return {
      name: this.name,
      batch: this.batch,
      rows: this.rows,
      registers,
      weights: this.#weights,
      tables: this.#tables,
      attention,
      reads: [...this.#reads],
      writes: this.#writes,
      flopsPerRow: this.#flopsPerRow,
      shapes: this.#shapes,
      bind: (binder, lane) => ({
        registers,
        registerBytes: lane.registerBytes,
        residentLimitBytes: lane.residentLimitBytes,
        attention: attention?.template(binder) ?? null,
        steps: binders.map((bind) => bind(binder)),
      }),
    }
  }

  #take(width: number): Register {
    const place = this.#free.findIndex((register) => this.#registers[register] === width)
    if (place >= 0) return this.#free.splice(place, 1)[0] ?? 0
    return this.#registers.push(width) - 1
  }
}
