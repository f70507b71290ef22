import { OptionError } from '../core/errors.ts'
import type { AskedResults, WithAsked } from './asked-results.ts'
import type { AttentionInputs, AttentionOptions, AttentionResult, WeightSelection } from './attention-options.ts'
import { checkCall } from './attention-call.ts'
import { createRuntime } from './create-runtime.ts'
import { checkRuntimeNames, type RuntimeOptions } from './runtime-options.ts'
import type { Runtime } from './runtime.ts'

let starting: Promise<Runtime> | null = null
let configured: RuntimeOptions = {}

/**
 * Sets the options of the runtime that `attention` shares, in place of those given before: for example a `workerUrl`,
 * for a bundler that does not find the worker's file. Nothing starts.
 *
 * @throws {OptionError} for unknown names, and once the default runtime has started: call `closeDefaultRuntime` first
 *
 * @example
 * ```js
 * import { closeDefaultRuntime, configureDefaultRuntime } from 'heddle'
 *
 * await closeDefaultRuntime() // where it may have started already
 * configureDefaultRuntime({ workers: 2, memoryBudgetBytes: 2 ** 30 })
 * ```
 */
export function configureDefaultRuntime(options: RuntimeOptions): void {
  if (starting !== null)
    throw new OptionError(
      'configureDefaultRuntime: expected to be called before the first call of attention, or after closeDefaultRuntime(); got a call while the default runtime is open',
    )
  configured = checkRuntimeNames(options)
}

/**
 * The runtime that `attention` shares: made at first use, once for simultaneous calls; a failed start is tried
 * again.
 */
export function defaultRuntime(): Promise<Runtime> {
  starting ??= createRuntime(configured).catch((error: unknown) => {
    starting = null
    throw error
  })
  return starting
}

/**
 * Ends the default runtime's workers; the next call of `attention` starts it again, with the same options.
 *
 * @example
 * ```js
 * import { attention, closeDefaultRuntime, tensor } from 'heddle'
 *
 * const x = tensor(new Float32Array(8 * 4), [8, 4])
 * await attention({ query: x, key: x, value: x })
 * await closeDefaultRuntime() // gives the memory of its workers back
 * ```
 */
export async function closeDefaultRuntime(): Promise<void> {
  const started = starting
  starting = null
  await (await started?.catch(() => undefined))?.close()
}

/**
 * Exact attention, softmax(scale·QKᵀ + …)·V, in linear memory: `runtime.attention` on a runtime that all such calls
 * share. It has one worker per processor and starts at the first call. Its idle workers do not keep a process alive.
 *
 * @param inputs query [.., M, D], key [.., N, D] and value [.., N, Dv]; see `AttentionInputs` for the layouts
 *
 * @example
 * ```js
 * import { attention, tensor } from 'heddle'
 *
 * const x = tensor(Float32Array.from({ length: 1000 * 64 }, (_, i) => Math.sin(i)), [1000, 64])
 * const { output, report } = await attention({ query: x, key: x, value: x }, { causal: true })
 * console.log(output.shape, report.mode) // [ 1000, 64 ] chunked
 * ```
 */
export async function attention<
  Weights extends boolean | WeightSelection = false,
  LogSumExp extends boolean = false,
  Statistics extends boolean = false,
>(
  inputs: AttentionInputs,
  options: AttentionOptions & AskedResults<Weights, LogSumExp, Statistics> = {},
): Promise<WithAsked<AttentionResult, Weights, LogSumExp, Statistics>> {
  // Read at the call, as `runtime.attention` does: the runtime may take a while to start.
  const call = checkCall(inputs, options)
  return (await defaultRuntime()).attend(call) as never // a result has what was asked for
}
