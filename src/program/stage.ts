import { roundUp } from '../core/integers.ts'
import { STAGE_TILE_ROWS } from '../plan/stage-arena.ts'
import { isKind, type Operation, type Value, type WeightView } from './operation.ts'
import { ruleOf } from './operations/rules.ts'
import type { Parameter } from './parameter.ts'
import { assignRegisters, type RegisterUse } from './registers.ts'
import type { StageItem, StoredValue } from './stage-item.ts'

/** What stages have in common. */
interface StageBase {
  /** B and M: the rows that it is over */
  readonly batch: number
  readonly rows: number
  /** values in memory that it reads: by rows, or whole as attention does */
  readonly reads: readonly Value[]
  readonly writes: readonly StoredValue[]
}

/**
 * Row-wise operations over the same rows, and attention of these rows before them: what a lane does to a chunk without
 * going back to the scheduler.
 */
export interface RowStage extends StageBase, RegisterUse {
  readonly kind: 'rows'
  readonly attend: Operation<'attend'> | null
  readonly items: readonly StageItem[]
  /** of `reads`, what row-wise operations read all rows of */
  readonly wholeReads: readonly Value[]
  readonly weights: readonly WeightView[]
  /** parameters whose rows are looked up */
  readonly tables: readonly Parameter[]
  /** multiply-adds count as two; attention and sums are not in it */
  readonly flopsPerRow: number
  /** elements beside the registers that each row of a tile needs */
  readonly scratchPerRow: number
  /** sums over its rows, which are then done slab by slab; null where there are none */
  readonly slab: Slab | null
}

/** The sums over a stage's rows, and the values of a slab that they read. */
export interface Slab {
  /** rows of a slab: whole tiles, by the shape alone */
  readonly rows: number
  readonly sums: readonly SlabSum[]
}

export type SlabSum =
  | {
      readonly kind: 'outer'
      readonly weight: WeightView
      readonly gradient: Value
      readonly quads: Value
      readonly panels: Value
    }
  | { readonly kind: 'columns'; readonly weight: WeightView; readonly gradient: Value; readonly tiles: Value }

/** Attention's gradients: each (batch, key head, key segment) is a task. */
export interface BackwardStage extends StageBase {
  readonly kind: 'attention-backward'
  readonly operation: Operation<'attend-backward'>
}

/** Sums of rows into the rows of a table: each range of columns is a task. */
export interface TableStage extends StageBase {
  readonly kind: 'table'
  readonly operation: Operation<'sum-table'>
}

export type Stage = RowStage | BackwardStage | TableStage

export function isRowStage(stage: Stage): stage is RowStage {
  return stage.kind === 'rows'
}

/** Slabs take no more than that. */
const SLAB_BYTES = 16 * 2 ** 20

/** Where the operands of a stage's sums stand: each value once in each layout. */
type SlabLayout = 'panels' | 'quads' | 'tiles'

function slabOperands(operations: readonly Operation[]): { readonly value: Value; readonly layout: SlabLayout }[] {
  const operands = operations.flatMap(({ kind, inputs: [dOutput, input] }): { value: Value; layout: SlabLayout }[] => {
    if (kind === 'sum-rows') return [{ value: dOutput as Value, layout: 'tiles' }]
    return kind === 'sum-outer'
      ? [
          { value: dOutput as Value, layout: 'quads' },
          { value: input as Value, layout: 'panels' },
        ]
      : []
  })
  return [...new Map(operands.map((operand) => [slabKey(operand.value, operand.layout), operand])).values()]
}

function slabKey(value: Value, layout: SlabLayout): string {
  return `${value.id}:${layout}`
}

/** Rows of a slab of all `rows` rows: as many whole tiles as fit. */
function slabRows(rows: number, operations: readonly Operation[]): number {
  const bytesOf = {
    panels: (width: number) => roundUp(width, 8) * 4,
    quads: (width: number) => roundUp(width, 4) * 4,
    tiles: (width: number) => (width * 4) / STAGE_TILE_ROWS,
  }
  const rowBytes = slabOperands(operations).reduce((sum, { value, layout }) => sum + bytesOf[layout](value.width), 0)
  const fitting = Math.floor(SLAB_BYTES / Math.max(1, rowBytes) / STAGE_TILE_ROWS) * STAGE_TILE_ROWS
  return Math.min(roundUp(rows, STAGE_TILE_ROWS), Math.max(STAGE_TILE_ROWS, fitting))
}

/** The operations that were placed into one row stage. */
export interface PlacedOperations {
  readonly batch: number
  readonly rows: number
  readonly attend: Operation<'attend'> | null
  readonly operations: readonly Operation[]
}

/** Makes a stage of the operations that were placed into it: loads before first use, stores behind what they store. */
export class RowStageBuilder {
  readonly #items: StageItem[] = []
  readonly #reads: Set<Value>
  readonly #wholeReads = new Set<Value>()
  readonly #inRegisters = new Set<Value>()
  readonly #writes: StoredValue[] = []
  readonly #sums: SlabSum[] = []
  readonly #slabValues = new Map<string, Value>()
  readonly #slabRows: number

  /**
   * @param made whether this stage makes a value
   * @param stored whether a value must be written to memory
   */
  constructor(
    private readonly placed: PlacedOperations,
    private readonly made: (value: Value) => boolean,
    private readonly stored: (value: Value) => boolean,
  ) {
    this.#reads = new Set(placed.attend?.inputs ?? [])
    this.#slabRows = slabRows(placed.batch * placed.rows, placed.operations)
  }

  build(): RowStage {
    const { batch, rows, attend, operations } = this.placed
    this.#openAttention()
    for (const operation of operations) this.#add(operation)
    const rules = operations
      .filter((operation) => !isSum(operation))
      .map((operation) => ({ operation, rule: ruleOf(operation) }))
    const headWidths = this.#items.flatMap((item) => (item.kind === 'operation' ? [] : [widthOfMemory(item)]))
    return {
      kind: 'rows',
      batch,
      rows,
      attend,
      items: this.#items,
      reads: [...this.#reads],
      wholeReads: [...this.#wholeReads],
      writes: this.#writes,
      weights: rules.flatMap(({ operation, rule }) => rule.weights?.(operation) ?? []),
      tables: rules.flatMap(({ operation, rule }) => rule.tables?.(operation) ?? []),
      flopsPerRow: rules.reduce((sum, { operation, rule }) => sum + (rule.flopsPerRow?.(operation) ?? 0), 0),
      scratchPerRow: Math.max(
        0,
        ...headWidths,
        ...rules.map(({ operation, rule }) => rule.scratchPerRow?.(operation) ?? 0),
      ),
      slab: this.#sums.length === 0 ? null : { rows: this.#slabRows, sums: this.#sums },
      ...assignRegisters(this.#items),
    }
  }

  /** The context, where it must be in memory, and the results beside it. */
  #openAttention(): void {
    const { attend } = this.placed
    if (attend === null) return
    const [context, ...results] = attend.outputs
    for (const result of results) if (this.stored(result)) this.#writes.push({ from: result, to: result, shifts: [0] })
    if (context === undefined || !this.stored(context)) return
    this.#need(context)
    this.#store({ from: context, to: context, shifts: [0] })
  }

  #add(operation: Operation): void {
    if (isSum(operation)) return this.#addSum(operation)
    const { inRegisters, inWhole = [] } = ruleOf(operation)
    operation.inputs.forEach((input, place) => {
      if (inRegisters === undefined || inRegisters.includes(place)) this.#need(input)
      else if (operation.kind !== 'append') this.#reads.add(input)
      if (inWhole.includes(place)) this.#wholeReads.add(input)
    })
    if (isKind(operation, 'append')) {
      this.#store({
        from: operation.inputs[0] as Value,
        to: operation.outputs[0] as Value,
        shifts: operation.attributes.past,
      })
      return
    }
    this.#items.push({ kind: 'operation', operation })
    for (const output of operation.outputs) {
      this.#inRegisters.add(output)
      if (this.stored(output)) this.#store({ from: output, to: output, shifts: [0] })
    }
  }

  #addSum(operation: Operation): void {
    const [dOutput, input] = operation.inputs as [Value, Value | undefined]
    if (isKind(operation, 'sum-outer')) {
      const { weight, gradient } = operation.attributes
      this.#sums.push({
        kind: 'outer',
        weight,
        gradient,
        quads: this.#slabValue(dOutput, 'quads'),
        panels: this.#slabValue(input as Value, 'panels'),
      })
    } else if (isKind(operation, 'sum-rows')) {
      const { weight, gradient } = operation.attributes
      this.#sums.push({ kind: 'columns', weight, gradient, tiles: this.#slabValue(dOutput, 'tiles') })
    }
  }

  /** The value's rows of a slab, as sums read them; stored once. */
  #slabValue(value: Value, layout: SlabLayout): Value {
    const known = this.#slabValues.get(slabKey(value, layout))
    if (known !== undefined) return known
    this.#need(value)
    const rows = this.#slabRows
    const place: Value = {
      ...value,
      name: 'slabs',
      producer: null,
      layout,
      heads: 1,
      slots: 1,
      batch: 1,
      rows,
      capacity: rows,
    }
    this.#slabValues.set(slabKey(value, layout), place)
    this.#store({ from: value, to: place, shifts: [0] })
    return place
  }

  /** Brings a value into a register. */
  #need(value: Value): void {
    const { attend } = this.placed
    if (this.#inRegisters.has(value)) return
    if (this.made(value) && value.producer !== attend) return
    this.#inRegisters.add(value)
    this.#items.push({ kind: 'load', value })
    if (attend === null || value.producer !== attend) this.#reads.add(value)
  }

  #store(stored: StoredValue): void {
    this.#items.push({ kind: 'store', stored })
    this.#writes.push(stored)
  }
}

export function isSum({ kind }: Operation): boolean {
  return kind === 'sum-outer' || kind === 'sum-rows'
}

/** Elements of a row that pass through scratch on their way to or from memory: of heads and of slabs. */
function widthOfMemory(item: Exclude<StageItem, { kind: 'operation' }>): number {
  const { layout, width } = item.kind === 'load' ? item.value : item.stored.to
  if (layout === 'heads' || layout === 'tiles') return width
  return layout === 'panels' || layout === 'quads' ? roundUp(width, 8) : 0
}
