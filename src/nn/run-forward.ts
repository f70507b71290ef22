import type { Runtime } from '../attention/runtime.ts'
import { isShared } from '../core/shared-memory.ts'
import type { Tensor, TensorData } from '../core/tensor.ts'
import type { TaskArray } from '../protocol/task.ts'
import type { Graph } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'
import { parametersOfGraph } from '../program/operations/rules.ts'
import { readParameters } from '../program/parameter-access.ts'
import { partition, type Program } from '../program/partition.ts'
import { isTiny, planProgram, type LayerPlan } from '../program/plan.ts'
import { runProgram, type ProgramResult } from '../program/run.ts'
import type { ForwardOptions } from './forward-options.ts'
import { measureNorms } from './norm-monitor.ts'

/** Runs a graph to its output and the values that it exposes, in this order. */
export function runForward(
  graph: Graph,
  output: Value,
  runtime: Runtime,
  options: ForwardOptions,
  inputs: readonly Tensor<TensorData>[],
): Promise<ProgramResult> {
  const watched =
    options.monitorNorms === undefined ? [] : graph.watched.flatMap((layer) => [layer.input, layer.output])
  const program = partition(graph, [output, ...graph.exposed.values()], watched)
  const sharedOutput = inputs.every((input) => isShared(input.data))
  const run = {
    signal: options.signal,
    priority: options.priority,
    chunkSize: options.chunkSize,
    sharedOutput,
    onStage: observer(program, options),
  }
  return readParameters(parametersOfGraph(graph), () => runProgram(program, runtime, run))
}

/** Runs a graph to some of its values, which stay in shared memory where the host has it. */
export function runValues(
  graph: Graph,
  values: readonly Value[],
  runtime: Runtime,
  { signal, priority, chunkSize }: ForwardOptions,
): Promise<ProgramResult> {
  const run = { signal, priority, chunkSize, sharedOutput: true }
  return readParameters(parametersOfGraph(graph), () => runProgram(partition(graph, values), runtime, run))
}

/** What that would do on a runtime, without data. */
export function planForward(graph: Graph, output: Value, runtime: Runtime): LayerPlan {
  const program = partition(graph, [output, ...graph.exposed.values()])
  const host = runtime.stageHost(isTiny(program, undefined))
  return planProgram(program, runtime, { chunkSize: undefined, plainResults: host.transport === 'shared' ? 1 : 0 })
}

/** Tells of each tensor, and of each layer, when the stage that made it is done. */
function observer(
  program: Program,
  { trace, monitorNorms }: ForwardOptions,
): ((index: number, dataOf: (value: Value) => TaskArray) => void) | undefined {
  if (trace === undefined && monitorNorms === undefined) return undefined
  const { graph, stageOf } = program
  return (index, dataOf) => {
    for (const { layer, step, shape, value } of graph.marks)
      if ((stageOf.get(value) ?? 0) === index) trace?.({ layer, step, shape })
    if (monitorNorms === undefined) return
    for (const { layer, input, output } of graph.watched) {
      if ((stageOf.get(output) ?? 0) === index) monitorNorms(measureNorms(layer, dataOf(input), dataOf(output)))
    }
  }
}
