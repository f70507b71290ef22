import { checkFinite } from '../core/check.ts'
import { OptionError } from '../core/errors.ts'
import type { SeedWords } from '../core/philox.ts'
import type { AnyModule } from '../nn/module.ts'
import type { Graph } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'
import { multiply } from '../program/operations/elementwise.ts'
import { crossEntropy, squaredError } from '../program/operations/loss.ts'
import type { Batch } from './batch.ts'
import type { CrossEntropy, Loss } from './losses.ts'

/** A model's forward pass over a batch. */
export interface ModelGraph {
  readonly graph: Graph
  readonly output: Value
}

export function modelGraph(model: AnyModule, batch: Batch, seed: SeedWords | null): ModelGraph {
  const graph = model.newGraph({ seed, forGradients: true })
  const input = model.inputValue(graph, batch.tokens ?? batch.input)
  return { graph, output: model.build(graph, input, forwardOptions(model, batch, input)) }
}

/** What a batch says beside its input, under the names of the model's options. */
function forwardOptions(model: AnyModule, { tokens, segments, positions }: Batch, { batch, rows }: Value): object {
  for (const [name, given] of [
    ['segments', segments],
    ['positions', positions],
  ] as const) {
    if (given !== undefined && !model.takesOption(name))
      throw new OptionError(
        `lossAndGradients: expected a model that takes ${name}, as the batch has them; ${model.label} does not`,
      )
  }
  const each = segments === undefined ? undefined : { data: segments.data, shape: [batch, rows] }
  return {
    ...(each === undefined ? {} : { segments: tokens === undefined ? { query: each, key: each } : each }),
    ...(positions === undefined ? {} : { positions }),
  }
}

/** The loss of each row [batch, rows, 1]. @param factor what one target counts in the whole loss */
export function rowLosses({ graph, output }: ModelGraph, loss: Loss, batch: Batch, factor: number): Value {
  checkFinite('lossAndGradients: factor', factor)
  return loss.kind === 'crossEntropy'
    ? classLosses(graph, output, loss, batch, factor)
    : elementLosses(graph, output, batch, factor)
}

function classLosses(
  graph: Graph,
  output: Value,
  { ignoreIndex, labelSmoothing }: CrossEntropy,
  { targets, mask }: Batch,
  factor: number,
): Value {
  const classes = targets?.data ?? new Int32Array(0)
  const counted =
    mask === undefined ? classes : classes.map((target, row) => (mask.data[row] === 0 ? ignoreIndex : target))
  const value = graph.input('targets', { batch: output.batch, rows: output.rows, width: 1 }, counted, {
    layout: 'tokens',
    integers: true,
  })
  return crossEntropy(graph, output, value, { ignoreIndex, smoothing: labelSmoothing }, factor)
}

/** Rows that do not count are times 0 on both sides. */
function elementLosses(graph: Graph, output: Value, { target, mask }: Batch, factor: number): Value {
  const data = target?.data ?? new Float32Array(0)
  const { width } = output
  if (mask === undefined) return squaredError(graph, output, graph.input('target', output, data), factor)
  const counts = new Float32Array(data.length)
  mask.data.forEach((entry, row) => counts.fill(entry === 0 ? 0 : 1, row * width, (row + 1) * width))
  const masked = data.map((value, place) => ((counts[place] ?? 0) === 0 ? 0 : value))
  return squaredError(
    graph,
    multiply(graph, output, graph.input('counts', output, counts)),
    graph.input('target', output, masked),
    factor,
  )
}
