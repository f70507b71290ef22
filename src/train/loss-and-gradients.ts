import { defaultRuntime } from '../attention/default-runtime.ts'
import type { Runtime } from '../attention/runtime.ts'
import { throwIfAborted } from '../core/abort.ts'
import { checkBoolean, checkedSignal, checkNames, expected } from '../core/check.ts'
import { OptionError } from '../core/errors.ts'
import type { SeedWords } from '../core/philox.ts'
import { dropoutSeed } from '../nn/forward-options.ts'
import { Module, type AnyModule } from '../nn/module.ts'
import { gradientTensor } from '../nn/run-backward.ts'
import type { ForwardGraph } from '../program/gradient-program.ts'
import type { Value } from '../program/operation.ts'
import { checkRuntime } from '../program/host.ts'
import { readParameters } from '../program/parameter-access.ts'
import type { Parameter } from '../program/parameter.ts'
import { withGradientProgram } from '../program/program-cache.ts'
import { runProgram } from '../program/run.ts'
import { readBatch, type Batch } from './batch.ts'
import type { GradientOptions, GradientResult } from './gradient-call.ts'
import { modelGraph, rowLosses, type ModelGraph } from './loss-graph.ts'
import { checkLoss, countTargets, type Loss } from './losses.ts'

/**
 * The mean loss of a model over a batch's targets, and its gradients with respect to the parameters. Memory is linear
 * in the number of rows. The model's mode decides about dropout. Bits depend on model and batch alone. Without shared
 * memory one lane does it all, and the report says so.
 *
 * @param model its output is [B, M, V] logits for `crossEntropy`, [B, M, E] for `meanSquaredError`
 * @param batch tokens and targets [B, M], or input and target [B, M, E]
 * @throws {OptionError} {ShapeError} {NumericError} for a batch that does not fit the model or the loss, before
 *   anything is allocated; says which position and value
 * @throws {MemoryBudgetError} when nothing fits the budget; says which one would do
 *
 * @example
 * ```js
 * import { tensor } from 'heddle'
 * import { Linear } from 'heddle/nn'
 * import { lossAndGradients, meanSquaredError } from 'heddle/train'
 *
 * const model = new Linear(4, 2, { seed: 1 })
 * const input = tensor(Float32Array.from({ length: 3 * 4 }, (_, i) => Math.sin(i)), [1, 3, 4])
 * const target = tensor(new Float32Array(3 * 2), [1, 3, 2])
 * const { loss, gradients } = await lossAndGradients(model, { input, target }, { loss: meanSquaredError() })
 * console.log(loss > 0, gradients.get('weight').shape) // true [ 2, 4 ]
 * ```
 */
export async function lossAndGradients(
  model: AnyModule,
  batch: Batch,
  options: GradientOptions,
): Promise<GradientResult> {
  const call = checkCall(model, batch, options)
  const runtime = call.runtime ?? (await defaultRuntime())
  throwIfAborted(call.signal)
  return readParameters(model.parameters(), () => compute(call, runtime))
}

/** A call after all checks. */
interface Call {
  readonly model: AnyModule
  readonly forward: ModelGraph
  readonly batch: Batch
  readonly loss: Loss
  readonly seed: SeedWords | null
  readonly signal: AbortSignal | undefined
  readonly runtime: Runtime | undefined
  readonly counted: number
  /** whose gradients are wanted, by name */
  readonly wanted: ReadonlyMap<string, Parameter>
  readonly sharedGradients: boolean
}

function checkCall(model: unknown, given: Batch, options: GradientOptions): Call {
  if (!(model instanceof Module)) throw expected('lossAndGradients: model', 'a Module', model)
  options = checkNames('lossAndGradients: options', options, [
    ...['loss', 'seed', 'runtime', 'signal', 'only', 'sharedGradients'],
  ])
  const { loss, runtime, sharedGradients = false } = options
  checkLoss('lossAndGradients: option loss', loss)
  checkRuntime('lossAndGradients: option runtime', runtime)
  checkBoolean('lossAndGradients: option sharedGradients', sharedGradients)
  const signal = checkedSignal('lossAndGradients: option signal', options.signal)
  const wanted = wantedParameters(model, options.only)
  const { batch, rows } = readBatch('lossAndGradients: batch', given)
  const seed = dropoutSeed('lossAndGradients', model.drops, options.seed)
  const forward = modelGraph(model, batch, seed)
  const { output } = forward
  const outputRows = [...rows.slice(0, -1), output.rows]
  if (batch.mask !== undefined && output.rows !== rows.at(-1))
    throw new OptionError(
      `lossAndGradients: expected no mask for a model whose output has other rows than its input, got one; leave the rows out of segments`,
    )
  const counted = countTargets(loss, batch, [...outputRows, output.width])
  return { model, forward, batch, loss, seed, signal, runtime, counted, wanted, sharedGradients }
}

function wantedParameters(model: AnyModule, only: unknown): Map<string, Parameter> {
  const named = model.namedParameters()
  if (only === undefined) return named
  if (!Array.isArray(only)) throw expected('lossAndGradients: option only', 'an array of parameter names', only)
  const unknown = only.filter((name: unknown) => !named.has(name as string))
  if (unknown.length > 0)
    throw new OptionError(
      `lossAndGradients: option only: expected names of the model's parameters, got ${unknown.map((name) => JSON.stringify(name)).join(', ')}`,
    )
  return new Map([...named].filter(([name]) => only.includes(name)))
}

async function compute(call: Call, runtime: Runtime): Promise<GradientResult> {
  const { model, batch, loss, seed, signal, counted, wanted } = call
  const parameters = new Set(wanted.values())
  let checked: ModelGraph | undefined = call.forward
  const build = (): ForwardGraph => {
    const forward = checked ?? modelGraph(model, batch, seed)
    checked = undefined
    return {
      graph: forward.graph,
      seeds: new Map(),
      losses: [rowLosses(forward, loss, batch, 1 / counted)],
      inputs: [],
      parameters,
    }
  }
  return withGradientProgram(model, runtime, build, async ({ program, parameters: gradients }, isReused) => {
    const { data, report } = await runProgram(program, runtime, {
      signal,
      chunkSize: undefined,
      sharedOutput: false,
      // The first is the losses of the rows.
      plainResults: call.sharedGradients ? 1 : program.results.length,
      isReused,
    })
    const dataOf = (value: Value): Float32Array => data[program.results.indexOf(value)] as Float32Array
    // In float64, in the order of the rows.
    const sum = (data[0] as Float32Array).reduce((total, each) => total + each, 0)
    return {
      loss: sum / counted,
      counted,
      gradients: new Map(
        [...wanted].map(([name, parameter]) => [name, gradientTensor(parameter, gradients.get(parameter), dataOf)]),
      ),
      report,
    }
  })
}
