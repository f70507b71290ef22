import type { ArraySource, Ledger } from '../core/ledger.ts'
import { isShared } from '../core/shared-memory.ts'
import type { Transport } from '../plan/transport.ts'
import type { TaskArray } from '../protocol/task.ts'
import type { Operands } from '../scheduler/operands.ts'
import type { ValuePlaces } from './bind.ts'
import { elementsOf, type Value } from './operation.ts'
import type { Program } from './partition.ts'
import { assignSlots, handedSlots, madeBy, rootOf, type Slot } from './slots.ts'
import type { Stage } from './stage.ts'

/** Whether and how results leave shared memory. */
export interface OutputRule {
  readonly transport: Transport
  /** whether results belong in shared memory, as the inputs are */
  readonly sharedOutput: boolean
  /** how many results, from the first, are copied out of shared memory at the end */
  readonly plainResults: number
}

/** The data of a program's values during one run. */
export class ProgramMemory {
  readonly #slotOf: ReadonlyMap<Value, number>
  readonly #slots: readonly Slot[]
  readonly #arrays: (TaskArray | null)[]
  readonly #handed: ReadonlySet<number>
  /** the slots of the results that plans count as output */
  readonly #outputs: ReadonlySet<number | undefined>

  constructor(
    private readonly program: Program,
    private readonly output: OutputRule,
    private readonly ledger: Ledger,
    private readonly scratch: ArraySource,
  ) {
    const { slots, slotOf } = assignSlots(program)
    this.#slots = slots
    this.#slotOf = slotOf
    this.#arrays = slots.map(() => null)
    this.#handed = handedSlots(program, output.plainResults)
    this.#outputs = new Set(program.results.slice(0, 1).map((value) => slotOf.get(value)))
  }

  /** Gives what the stage writes its memory: a slot whose last reader is a stage before it, or a fresh one. */
  prepare(stage: Stage): void {
    for (const value of madeBy(stage)) {
      const slot = this.#slotOf.get(value)
      if (slot !== undefined) this.#arrays[slot] ??= this.#arrayOf(slot)
    }
  }

  dataOf(value: Value): TaskArray {
    const slot = this.#slotOf.get(value)
    const data = slot === undefined ? this.program.graph.bindings.get(rootOf(value)) : this.#arrays[slot]
    if (data === undefined || data === null) throw new Error(`program: ${value.name} was used before it was made`)
    return data
  }

  /** Where lanes find the values: in these arrays. */
  places(operands: Operands): ValuePlaces {
    const dataOf = (value: Value): TaskArray => this.dataOf(value)
    return { dataOf, idOf: (value) => operands.whole(dataOf(value)) }
  }

  /** A lane made this value by itself and gave it back. */
  accept(value: Value, data: TaskArray): void {
    const slot = this.#slotOf.get(value)
    if (slot !== undefined) this.#arrays[slot] = data
  }

  /** The caller's: copied where it must not stay in shared memory. */
  result(value: Value, index: number): TaskArray {
    const data = this.#slotOf.has(value) ? this.dataOf(value) : this.#unmade(value)
    if (index >= this.output.plainResults || !isShared(data)) return data
    const copy = this.ledger.array('output', Float32Array, data.length, false)
    copy.set(data)
    return copy
  }

  #arrayOf(slot: number): TaskArray {
    const { elements, integers, zeros } = this.#slots[slot] as Slot
    const { transport, sharedOutput } = this.output
    const Class = integers ? Int32Array : Float32Array
    if (!this.#handed.has(slot)) {
      const array = this.scratch.array<TaskArray>('activations', Class, elements, transport === 'shared')
      return zeros ? array.fill(0) : array
    }
    const isOutput = this.#outputs.has(slot)
    return this.ledger.array<TaskArray>(
      isOutput ? 'output' : 'details',
      Class,
      elements,
      transport === 'shared' || (isOutput && sharedOutput),
    )
  }

  /**
   * A result that no stage makes: a copy of the input, as of a layer that does nothing, or the gradient of what plays
   * no part.
   */
  #unmade(value: Value): TaskArray {
    const data = this.program.graph.bindings.get(value)
    const array = this.ledger.array('output', Float32Array, elementsOf(value), this.output.sharedOutput)
    if (data !== undefined) array.set(data)
    return array
  }
}
