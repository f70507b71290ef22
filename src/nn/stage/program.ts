import type { AttentionResult } from '../../attention/attention-options.ts'
import type { Priority } from '../../scheduler/job.ts'
import type { StageBuffer } from './buffers.ts'
import type { Stage, TracedShape } from './stage-builder.ts'
import type { LayerRuntime } from './stage-host.ts'

/** How a caller steers a call that is under way or waits. */
export interface CallControl {
  readonly signal: AbortSignal | undefined
  readonly priority: Priority | undefined
}

/** A part of a program that is a whole attention call, as where weights or statistics are asked for. */
export interface AttentionCall {
  readonly name: string
  readonly reads: readonly StageBuffer[]
  readonly writes: readonly { readonly buffer: StageBuffer }[]
  readonly flops: number
  /** bytes beyond its buffers and the lanes' arenas */
  bytes(runtime: LayerRuntime): number
  readonly shapes: readonly TracedShape[]
  run(runtime: LayerRuntime, options: CallControl): Promise<AttentionResult>
}

export type ProgramPart = Stage | AttentionCall

/** What a forward pass does, before any data exist: parts in order, and the tensors between them. */
export interface StageProgram {
  readonly parts: readonly ProgramPart[]
  /** the buffer that becomes the result */
  readonly output: StageBuffer
  /** layers whose input and output can be compared once that part is done */
  readonly watched?: readonly WatchedLayer[]
}

export interface WatchedLayer {
  readonly layer: string
  readonly after: ProgramPart
  readonly input: StageBuffer
  readonly output: StageBuffer
}

export function isStage(part: ProgramPart): part is Stage {
  return 'bind' in part
}

/** The tensors that the program itself makes, each with the slot of memory that it uses: slots are used again. */
export interface SlotAssignment {
  readonly slots: readonly { readonly elements: number }[]
  readonly slotOf: ReadonlyMap<StageBuffer, number>
}

const assigned = new WeakMap<StageProgram, SlotAssignment>()

/** Gives each tensor a slot, from the part that writes it first to the part that reads it last; the same ones each time. */
export function assignSlots(program: StageProgram): SlotAssignment {
  const known = assigned.get(program)
  if (known !== undefined) return known
  const assignment = makeAssignment(program)
  assigned.set(program, assignment)
  return assignment
}

function makeAssignment({ parts, output }: StageProgram): SlotAssignment {
  const lifetimes = lifetimesOf(parts, output)
  const slots: { elements: number; busyUntil: number }[] = []
  const slotOf = new Map<StageBuffer, number>()
  for (const [buffer, { first, last }] of lifetimes) {
    let slot = slots.findIndex((candidate) => candidate.elements === buffer.elements && candidate.busyUntil < first)
    if (slot < 0) slot = slots.push({ elements: buffer.elements, busyUntil: last }) - 1
    const taken = slots[slot]
    if (taken !== undefined) taken.busyUntil = last
    slotOf.set(buffer, slot)
  }
  return { slots, slotOf }
}

function lifetimesOf(parts: readonly ProgramPart[], output: StageBuffer): Map<StageBuffer, { first: number; last: number }> {
  const lifetimes = new Map<StageBuffer, { first: number; last: number }>()
  parts.forEach((part, index) => {
    for (const { buffer } of part.writes) {
      if (!buffer.external && !lifetimes.has(buffer)) lifetimes.set(buffer, { first: index, last: index })
    }
    for (const buffer of part.reads) {
      const lifetime = lifetimes.get(buffer)
      if (lifetime !== undefined) lifetime.last = index
    }
  })
  const result = lifetimes.get(output)
  if (result !== undefined) result.last = parts.length
  return lifetimes
}
