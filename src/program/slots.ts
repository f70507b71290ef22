import { elementsOf, isSlab, type Value } from './operation.ts'
import type { Program } from './partition.ts'
import { isRowStage, type Stage } from './stage.ts'

export interface Slot {
  readonly elements: number
  readonly integers: boolean
  /** whether it must hold zeros at the start: sums are added to it */
  readonly zeros: boolean
}

/** The tensors that a program makes in memory, each with the slot that it uses: slots are used again. */
export interface SlotAssignment {
  readonly slots: readonly Slot[]
  readonly slotOf: ReadonlyMap<Value, number>
}

const assigned = new WeakMap<Program, SlotAssignment>()

/**
 * Gives each value a slot, from the stage that writes it first to the stage that reads it last; the same ones each
 * time.
 */
export function assignSlots(program: Program): SlotAssignment {
  const known = assigned.get(program)
  if (known !== undefined) return known
  const assignment = makeAssignment(program)
  assigned.set(program, assignment)
  return assignment
}

function makeAssignment(program: Program): SlotAssignment {
  const slots: (Slot & { busyUntil: number })[] = []
  const slotOf = new Map<Value, number>()
  for (const [value, { first, last }] of lifetimesOf(program)) {
    const [elements, integers] = [elementsOf(value), value.integers]
    let slot = slots.findIndex(
      (candidate) => candidate.elements === elements && candidate.integers === integers && candidate.busyUntil < first,
    )
    if (slot < 0) slot = slots.push({ elements, integers, zeros: isSummed(value), busyUntil: last }) - 1
    const taken = slots[slot]
    if (taken !== undefined) taken.busyUntil = last
    slotOf.set(value, slot)
  }
  return { slots, slotOf }
}

/** Values that the caller or a layer brings and caches that rows are added to, are not among them. */
function lifetimesOf({ stages, results }: Program): Map<Value, { first: number; last: number }> {
  const lifetimes = new Map<Value, { first: number; last: number }>()
  stages.forEach((stage, index) => {
    for (const to of madeBy(stage)) {
      // Sums need zeros, which memory that held something else has not: theirs is taken from the start.
      if (to.producer?.kind !== 'append' && !lifetimes.has(to))
        lifetimes.set(to, { first: isSummed(to) ? -1 : index, last: index })
    }
    for (const value of stage.reads) {
      const lifetime = lifetimes.get(value)
      if (lifetime !== undefined) lifetime.last = index
    }
  })
  for (const result of results) {
    const lifetime = lifetimes.get(result)
    if (lifetime !== undefined) lifetime.last = stages.length
  }
  return lifetimes
}

/** Whether it is a parameter's gradient, which sums are added to. */
function isSummed({ layout }: Value): boolean {
  return layout === 'parameter'
}

/** What a stage writes: its values, and the gradients that its sums are added to. */
export function madeBy(stage: Stage): Value[] {
  return [
    ...stage.writes.map(({ to }) => to),
    ...(isRowStage(stage) ? (stage.slab?.sums ?? []).map(({ gradient }) => gradient) : []),
  ]
}

/** Where a value's data come from: a cache that rows were added to is the cache itself. */
export function rootOf(value: Value): Value {
  return value.producer?.kind === 'append' ? rootOf(value.producer.inputs[1] as Value) : value
}

const external = new WeakMap<Program, readonly Value[]>()

/** The values that the caller or a layer brings, each once. */
export function externalValues(program: Program): readonly Value[] {
  const values = external.get(program) ?? findExternal(program)
  external.set(program, values)
  return values
}

function findExternal({ stages }: Program): Value[] {
  const touched = stages.flatMap(({ reads, writes }) => [...reads, ...writes.map(({ to }) => to)])
  return [...new Set(touched.map(rootOf))].filter(
    (value) => value.producer === null && !isSlab(value) && value.layout !== 'parameter',
  )
}

/** Slots whose memory the caller gets. @param plainResults how many results, from the first, are copied instead */
export function handedSlots(program: Program, plainResults: number): Set<number> {
  const { slotOf } = assignSlots(program)
  return new Set(program.results.slice(plainResults).flatMap((value) => slotOf.get(value) ?? []))
}
