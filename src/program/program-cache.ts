import { fitsMemory, gradientProgram, type ForwardGraph, type GradientProgram } from './gradient-program.ts'
import type { ProgramRuntime } from './host.ts'
import { KEPT_CHOICES } from './kept.ts'
import type { Value } from './operation.ts'
import type { Program } from './partition.ts'
import { hostFacts, isTiny } from './plan.ts'
import { describeArrays, isSameForward, rebind } from './rebind.ts'

/** Shapes and modes of one model on one runtime whose programs are kept; the least recently used one goes first. */
const MOST_PROGRAMS = 8
const OPTIONS = { chunkSize: undefined } as const

interface KnownProgram {
  readonly gradients: GradientProgram
  /** the values whose data each run brings, in the order of the graph */
  readonly inputs: readonly Value[]
  readonly arrays: string
  /** what the runtime was like when it was decided how much to keep of the forward pass */
  readonly facts: string
  isRunning: boolean
}

/** A program keeps its parameters, not the model: when the model or the runtime goes, its programs go. */
const knownPrograms = new WeakMap<ProgramRuntime, WeakMap<object, KnownProgram[]>>()

/**
 * Calls `use` with a program for the gradients of a forward pass: that of an earlier call with the same graph, or a new
 * one. The forward pass is built each time, and compared operation by operation: another shape, mode or set of wanted
 * parameters, another parameter or option gives another program. Graph, stages, registers and slots are then those of
 * before; only what differs from run to run is bound: inputs, dropout seeds, the loss's factor and the arrays of
 * attention's options.
 *
 * A program serves one call at a time. Between calls it holds no input; of attention's options it holds those of its
 * last run.
 *
 * @param owner the model
 * @param build makes the forward pass
 * @throws {MemoryBudgetError} when nothing fits the budget
 */
export async function withGradientProgram<Result>(
  owner: object,
  runtime: ProgramRuntime,
  build: () => ForwardGraph,
  use: (gradients: GradientProgram, isReused: boolean) => Promise<Result>,
): Promise<Result> {
  const fresh = build()
  const known = programsOf(runtime, owner)
  const found = reusable(known, fresh, runtime)
  const program = found ?? newProgram(fresh, runtime, build)
  program.isRunning = true
  remember(known, program)
  try {
    return await use(program.gradients, found !== undefined)
  } finally {
    program.gradients.program.graph.bindings.clear()
    program.isRunning = false
  }
}

function programsOf(runtime: ProgramRuntime, owner: object): KnownProgram[] {
  const ofRuntime = knownPrograms.get(runtime) ?? new WeakMap<object, KnownProgram[]>()
  knownPrograms.set(runtime, ofRuntime)
  const known = ofRuntime.get(owner) ?? []
  ofRuntime.set(owner, known)
  return known
}

/** The most recently used one last. */
function remember(known: KnownProgram[], program: KnownProgram): void {
  const place = known.indexOf(program)
  if (place >= 0) known.splice(place, 1)
  known.push(program)
  if (known.length > MOST_PROGRAMS) known.shift()
}

/** A known program with the inputs of this call; undefined where none serves. */
function reusable(
  known: readonly KnownProgram[],
  fresh: ForwardGraph,
  runtime: ProgramRuntime,
): KnownProgram | undefined {
  const arrays = describeArrays(fresh)
  const found = known.find(
    (each) =>
      !each.isRunning &&
      each.arrays === arrays &&
      isSameForward(each.gradients.forward, fresh) &&
      wasDecidedWell(each, runtime),
  )
  if (found === undefined) return undefined
  rebind(found.gradients.forward, found.inputs, fresh)
  if (fitsMemory(found.gradients.program, runtime, OPTIONS)) return found
  found.gradients.forward.graph.bindings.clear()
  return undefined
}

/** A program that keeps less than it might was made for the memory that there was then. */
function wasDecidedWell({ gradients: { program }, facts }: KnownProgram, runtime: ProgramRuntime): boolean {
  return program.keeps === KEPT_CHOICES[0] || facts === factsFor(program, runtime)
}

function factsFor(program: Program, runtime: ProgramRuntime): string {
  return hostFacts(runtime.stageHost(isTiny(program, OPTIONS.chunkSize)))
}

function newProgram(fresh: ForwardGraph, runtime: ProgramRuntime, build: () => ForwardGraph): KnownProgram {
  const arrays = describeArrays(fresh)
  let first: ForwardGraph | undefined = fresh
  const gradients = gradientProgram(
    () => {
      const graph = first ?? build()
      first = undefined
      return graph
    },
    runtime,
    OPTIONS,
  )
  const facts = factsFor(gradients.program, runtime)
  return { gradients, inputs: [...gradients.forward.graph.bindings.keys()], arrays, facts, isRunning: false }
}
