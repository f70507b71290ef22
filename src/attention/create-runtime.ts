import { BackendUnavailableError } from '../core/errors.ts'
import type { MeasuredJob } from './measure-lanes.ts'
import type { LaneKind } from '../protocol/messages.ts'
import { Pool } from '../scheduler/pool.ts'
import { PoolEvents } from '../scheduler/pool-events.ts'
import { chooseAutoLanes } from './auto-backend.ts'
import { probeCapabilities, type Capabilities } from './capabilities.ts'
import {
  asksForGpu,
  checkRuntimeNames,
  resolveRuntimeOptions,
  type ResolvedRuntimeOptions,
  type RuntimeOptions,
} from './runtime-options.ts'
import { Runtime } from './runtime.ts'

/**
 * Starts a pool of workers.
 *
 * @throws {OptionError} for unknown or wrong options
 * @throws {BackendUnavailableError} when the host cannot run the backend, or no worker starts; it can be tried again
 *
 * @example
 * ```js
 * import { createRuntime, tensor } from 'heddle'
 *
 * const runtime = await createRuntime({ workers: 2, memoryBudgetBytes: 2 ** 30 })
 * try {
 *   const x = tensor(Float32Array.from({ length: 1000 * 64 }, (_, i) => Math.sin(i)), [1000, 64])
 *   const { logSumExp } = await runtime.attention({ query: x, key: x, value: x }, { returnLogSumExp: true })
 *   console.log(logSumExp.shape) // [ 1000 ]
 * } finally {
 *   await runtime.close()
 * }
 * ```
 */
export async function createRuntime(options: RuntimeOptions = {}): Promise<Runtime> {
  options = checkRuntimeNames(options)
  const capabilities = await probeCapabilities(asksForGpu(options))
  const resolved = await resolveRuntimeOptions(options, capabilities)
  const choice = await chooseAutoLanes(options, capabilities, (kind, job) => timeLane(kind, job, options, capabilities))
  if (choice === undefined) return openRuntime(capabilities, resolved)
  const { kinds, reason } = choice
  const told = { ...capabilities, reasons: { ...capabilities.reasons, auto: reason } }
  return openRuntime(told, kinds === undefined ? resolved : await resolveRuntimeOptions(options, capabilities, kinds))
}

async function openRuntime(capabilities: Capabilities, options: ResolvedRuntimeOptions): Promise<Runtime> {
  const events = new PoolEvents()
  const pool = new Pool({ ...options.pool, events, thread: options.onWorkers ? 'worker' : 'caller' })
  try {
    await pool.open()
  } catch (error) {
    if (!options.onWorkers || !(error instanceof BackendUnavailableError)) throw error
    return (await import('./open-otherwise.ts')).openOtherwise(error, capabilities, options)
  }
  return new Runtime(capabilities, options, pool, events)
}

/** Milliseconds of the measuring job on one lane of this kind. */
async function timeLane(
  kind: LaneKind,
  job: MeasuredJob,
  { workers: _, ...options }: RuntimeOptions,
  capabilities: Capabilities,
): Promise<number> {
  const runtime = await openRuntime(
    capabilities,
    await resolveRuntimeOptions({ ...options, backend: { [kind]: 1 } }, capabilities),
  )
  try {
    return await job(runtime)
  } finally {
    await runtime.close()
  }
}
