import { MemoryBudgetError } from '../core/errors.ts'
import { differentiate } from './differentiate.ts'
import type { Graph } from './graph.ts'
import type { ProgramRuntime } from './host.ts'
import { KEPT_CHOICES, keepsValue, type Kept } from './kept.ts'
import type { Operation, Value } from './operation.ts'
import type { Parameter } from './parameter.ts'
import { partition, type Program } from './partition.ts'
import { isTiny, planProgram, type PlanOptions } from './plan.ts'

/** A forward pass in a graph, and what gradients are wanted of it. */
export interface ForwardGraph {
  readonly graph: Graph
  /** gradients of outputs, by output */
  readonly seeds: ReadonlyMap<Value, Value>
  /** losses: gradients start there by themselves */
  readonly losses: readonly Value[]
  readonly inputs: readonly Value[]
  readonly parameters: ReadonlySet<Parameter>
}

/**
 * A program that computes gradients. Its results: the losses, the gradients of the inputs, then those of the
 * parameters.
 */
export interface GradientProgram {
  readonly program: Program
  /** null where nothing depends on the input */
  readonly inputs: readonly (Value | null)[]
  readonly parameters: ReadonlyMap<Parameter, Value>
  readonly forward: ForwardPass
}

/** The forward pass that a program was made of: the graph itself holds the gradients' operations too. */
export interface ForwardPass extends ForwardGraph {
  readonly operations: readonly Operation[]
}

export interface GradientPlanOptions extends Omit<PlanOptions, 'plainResults'> {
  /** What is kept whatever memory allows, for measurements. @default as much as memory allows */
  readonly keeps?: Kept
}

/** Without a memory budget, no more than that is kept only to save work. */
const MOST_KEPT_BYTES = 2 ** 30

/**
 * The gradients of a forward pass as a program, which keeps as much of each block as memory allows.
 *
 * @param build makes the forward pass anew
 * @throws {MemoryBudgetError} when nothing fits the budget
 */
export function gradientProgram(
  build: () => ForwardGraph,
  runtime: ProgramRuntime,
  options: GradientPlanOptions,
): GradientProgram {
  let last: GradientProgram | undefined
  for (const kept of options.keeps === undefined ? KEPT_CHOICES : [options.keeps]) {
    last = programWith(build(), kept)
    if (fitsMemory(last.program, runtime, options)) return last
  }
  return last as GradientProgram
}

function programWith(forward: ForwardGraph, keeps: Kept): GradientProgram {
  const { graph, ...wanted } = forward
  const operations = [...graph.operations]
  const gradients = differentiate(graph, { ...wanted, keeps: (value) => keepsValue(keeps, value) })
  const inputs = wanted.inputs.map((input) => gradients.inputs.get(input) ?? null)
  const results = [...wanted.losses, ...inputs.filter((value) => value !== null), ...gradients.parameters.values()]
  return {
    program: { ...partition(graph, results), keeps },
    inputs,
    parameters: gradients.parameters,
    forward: { ...forward, operations },
  }
}

/** Whether a program with gradients keeps no more than memory allows. */
export function fitsMemory(program: Program, runtime: ProgramRuntime, options: GradientPlanOptions): boolean {
  if (program.stages.length === 0) return true
  try {
    const { budgetedBytes, budgetBytes } = planProgram(program, runtime, { ...options, plainResults: 0 })
    return runtime.stageHost(isTiny(program, options.chunkSize)).budgetIsGiven === true
      ? budgetedBytes <= (budgetBytes ?? Infinity)
      : budgetedBytes <= MOST_KEPT_BYTES
  } catch (error) {
    if (error instanceof MemoryBudgetError) return false
    throw error
  }
}
