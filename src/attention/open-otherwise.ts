import { BackendUnavailableError } from '../core/errors.ts'
import { Pool } from '../scheduler/pool.ts'
import { PoolEvents } from '../scheduler/pool-events.ts'
import { workerFile } from '../scheduler/spawn-worker.ts'
import { workerAt, workerOf } from '../scheduler/worker-at.ts'
import { WorkerLane } from '../scheduler/worker-lane.ts'
import { workerProgram } from '../scheduler/worker-program.ts'
import { onCallingThread, type Capabilities } from './capabilities.ts'
import type { ResolvedRuntimeOptions } from './runtime-options.ts'
import { Runtime } from './runtime.ts'

/**
 * A runtime where no worker started as it should: with the worker's program in place of its file, for bundlers that do
 * not find it and scripts of another origin; else on the calling thread, unless the user asked for a number of workers.
 *
 * @param error why no worker started
 * @throws {BackendUnavailableError} with where the file was looked for, and what to do
 */
export async function openOtherwise(
  error: BackendUnavailableError,
  capabilities: Capabilities,
  options: ResolvedRuntimeOptions,
): Promise<Runtime> {
  const failures = [error]
  if (!options.ownWorkers) {
    const runtime = await openWithProgram(capabilities, options, failures)
    if (runtime !== null) return runtime
  }
  const explained = explain(failures, options)
  if (!options.mayGoWithoutWorkers) throw explained
  const events = new PoolEvents()
  const pool = new Pool({ ...options.onCaller, events, thread: 'caller' })
  // What stops the calling thread too, say an engine without SIMD, is no fault of the workers.
  await pool.open().catch(() => Promise.reject(error))
  const { message } = explained
  return new Runtime(
    { ...capabilities, workers: false, reasons: { ...capabilities.reasons, workers: message } },
    { ...options, onWorkers: false, caller: null, fallbacks: [...options.fallbacks, onCallingThread(message)] },
    pool,
    events,
  )
}

/** Null where that fails too; why is added to `failures`. */
async function openWithProgram(
  capabilities: Capabilities,
  options: ResolvedRuntimeOptions,
  failures: BackendUnavailableError[],
): Promise<Runtime | null> {
  const events = new PoolEvents()
  const pool = new Pool({
    ...options.pool,
    events,
    thread: 'worker',
    // GPU lanes have no program but their file: of another origin, perhaps, which `workerUrl` may have.
    makeLane: ({ kind }) =>
      new WorkerLane({
        workerFactory: () => (kind === 'wasm' ? workerOf(workerProgram) : workerAt(workerFile(kind))),
      }),
  })
  try {
    await pool.open()
    return new Runtime(capabilities, options, pool, events)
  } catch (error) {
    if (error instanceof BackendUnavailableError) failures.push(error)
    return null
  }
}

function explain(
  failures: readonly BackendUnavailableError[],
  options: ResolvedRuntimeOptions,
): BackendUnavailableError {
  const [first, second] = failures
  const again = second === undefined || second.message === first?.message ? '' : `; from its text: ${second.message}`
  // A worker that says what its host lacks was found, and ran.
  const ran = first?.message.startsWith('backend ') === true
  const remedy =
    options.ownWorkers || ran
      ? ''
      : `. Its file was looked for at ${address()}. Serve heddle/worker (dist/worker.js) from the page's own origin and pass its address as workerUrl to createRuntime or configureDefaultRuntime; docs/bundlers.md has a line for each bundler`
  return new BackendUnavailableError(`${first?.message ?? ''}${again}${remedy}`, { cause: first })
}

function address(): string {
  try {
    return workerFile('wasm').href
  } catch {
    return 'no address, as this script is no module and has no import.meta.url'
  }
}
