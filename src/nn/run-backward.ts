import type { Runtime } from '../attention/runtime.ts'
import { checkFunction } from '../core/check.ts'
import { ShapeError } from '../core/errors.ts'
import { isShared } from '../core/shared-memory.ts'
import { formatShape, type Tensor, type TensorData } from '../core/tensor.ts'
import { gradientProgram, type ForwardGraph } from '../program/gradient-program.ts'
import type { Graph } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'
import type { Parameter } from '../program/parameter.ts'
import { parametersOfGraph } from '../program/operations/rules.ts'
import { readParameters } from '../program/parameter-access.ts'
import { runProgram, type LayerReport } from '../program/run.ts'
import { outputShape, type ForwardOptions } from './forward-options.ts'

/** What `backward` takes beside the options of the forward pass. */
export interface BackwardOptions {
  /** Which parameters' gradients are wanted, by name; the others cost nothing. @default all */
  readonly only?: (name: string, parameter: Parameter) => boolean
}

/** What a layer's `backward` gives back. */
export interface BackwardResult {
  /** the gradient of the input; none where the input is tokens */
  readonly dInput?: Tensor
  /** by the names of `namedParameters()` */
  readonly gradients: Map<string, Tensor>
  /** how the call was run, and what it took */
  readonly report: LayerReport
}

/** Gradients of all inputs, in order: the layer's own, then those that were asked for by name. */
export interface BackwardRun {
  readonly inputs: readonly (Tensor | undefined)[]
  readonly gradients: Map<string, Tensor>
  readonly report: LayerReport
}

/** A forward pass in a graph. */
export interface BuiltForward {
  readonly graph: Graph
  readonly input: Value
  readonly output: Value
}

export interface BackwardCall {
  readonly label: string
  /** makes the forward pass anew */
  readonly build: () => BuiltForward
  readonly input: Tensor<TensorData>
  readonly dOutput: Tensor
  /** of other inputs whose gradients are wanted */
  readonly names: readonly string[]
  readonly parameters: ReadonlyMap<string, Parameter>
}

/** The parameters whose gradients are wanted, by name. @throws {OptionError} unless `only` is a function */
export function wantedParameters(
  label: string,
  named: ReadonlyMap<string, Parameter>,
  only: BackwardOptions['only'],
): Map<string, Parameter> {
  if (only === undefined) return new Map(named)
  checkFunction(`${label}: option only`, only)
  return new Map([...named].filter(([name, parameter]) => only(name, parameter)))
}

/** Runs a forward pass and its gradients. */
export async function runBackward(call: BackwardCall, runtime: Runtime, options: ForwardOptions): Promise<BackwardRun> {
  const { label, dOutput, parameters } = call
  const parameterSet = new Set(parameters.values())
  const build = (): ForwardGraph => {
    const { graph, input, output } = call.build()
    checkGradientShape(label, call.input, input, output, dOutput)
    const seed = graph.input('output gradient', output, dOutput.data)
    return {
      graph,
      seeds: new Map([[output, seed]]),
      losses: [],
      inputs: wantedInputs(graph, input, call.names),
      parameters: parameterSet,
    }
  }
  const { program, inputs, parameters: gradients } = gradientProgram(build, runtime, { chunkSize: options.chunkSize })
  const plainResults = inputs.filter((input) => input !== null).length
  const sharedOutput = isShared(dOutput.data) && isShared(call.input.data)
  const run = {
    signal: options.signal,
    priority: options.priority,
    chunkSize: options.chunkSize,
    sharedOutput,
    plainResults,
  }
  const { data, report } = await readParameters(parametersOfGraph(program.graph), () =>
    runProgram(program, runtime, run),
  )
  const dataOf = (value: Value): Float32Array => data[program.results.indexOf(value)] as Float32Array
  return {
    inputs: inputs.map((value, index) => (value === null ? undefined : inputGradient(call, index, value, dataOf))),
    gradients: new Map(
      [...parameters].map(([name, parameter]) => [name, gradientTensor(parameter, gradients.get(parameter), dataOf)]),
    ),
    report,
  }
}

/** The gradient of the input, which is number 0, or of another one. */
function inputGradient(
  { input }: BackwardCall,
  index: number,
  value: Value,
  dataOf: (value: Value) => Float32Array,
): Tensor {
  return { data: dataOf(value), shape: index === 0 ? [...input.shape] : [value.batch, value.rows, value.width] }
}

/** Zeros where the parameter plays no part. */
export function gradientTensor(
  parameter: Parameter,
  value: Value | undefined,
  dataOf: (value: Value) => Float32Array,
): Tensor {
  return {
    data: value === undefined ? new Float32Array(parameter.data.length) : dataOf(value),
    shape: [...parameter.shape],
  }
}

/** Float inputs: those that are tokens have no gradient. */
function wantedInputs(graph: Graph, input: Value, names: readonly string[]): Value[] {
  const others = names.flatMap((name) => [...graph.bindings.keys()].find((value) => value.name === name) ?? [])
  return [...(input.integers ? [] : [input]), ...others]
}

function checkGradientShape(
  label: string,
  input: Tensor<TensorData>,
  value: Value,
  output: Value,
  dOutput: Tensor,
): void {
  const expected = outputShape(input.shape, value, output)
  if (dOutput.shape.length === expected.length && dOutput.shape.every((size, axis) => size === expected[axis])) return
  throw new ShapeError(
    `${label}: expected dOutput of the output's shape ${formatShape(expected)}, got ${formatShape(dOutput.shape)}`,
  )
}
