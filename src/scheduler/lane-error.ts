import { BackendUnavailableError, HeddleError, MemoryBudgetError, ProtocolError } from '../core/errors.ts'
import { ownError } from '../protocol/error-transfer.ts'
import { LaneLost } from './lane.ts'
import { TaskCancelled } from './pacer.ts'

/**
 * What a call to a worker failed with, as an error of ours: nothing raw that came out of a worker or its host reaches a
 * caller.
 */
export function laneError(thrown: unknown): Error {
  const error = ownError(thrown)
  if (error instanceof HeddleError || error instanceof TaskCancelled) return error
  const name = error instanceof Error ? error.name : undefined
  const message = error instanceof Error ? error.message : String(error)
  if (name === 'TaskCancelled') return new TaskCancelled()
  if (name === 'RangeError')
    return new MemoryBudgetError(`worker: expected room for a task, but the engine refused: ${message}`, {
      cause: error,
    })
  if (name === 'CompileError')
    return new BackendUnavailableError(
      `worker: expected to compile the kernels, but the host refused (a Content-Security-Policy must have 'wasm-unsafe-eval' in script-src): ${message}`,
      { cause: error },
    )
  if (name === 'DataCloneError')
    return new BackendUnavailableError(`worker: expected the host to post a message, but it refused: ${message}`, {
      cause: error,
    })
  return new ProtocolError(`worker: expected a result or a HeddleError, got ${name ?? typeof error}: ${message}`, {
    cause: error,
  })
}

/** Whether the host itself threw: then the message may not have arrived. */
export function isRefusal(thrown: unknown): boolean {
  const error = ownError(thrown)
  return !(error instanceof HeddleError || (error instanceof Error && error.name === 'TaskCancelled'))
}

/** What a pool fails with when none of its lanes ever started. */
export function startError({ cause, message }: LaneLost): BackendUnavailableError {
  return new BackendUnavailableError(
    `worker: expected it to start, but ${cause instanceof Error ? cause.message : message}`,
    { cause },
  )
}

/** The message of what a lane was lost by. */
export function reasonOf(error: unknown): string {
  const cause = error instanceof LaneLost ? (error.cause ?? error) : error
  return cause instanceof Error ? cause.message : String(cause)
}
