import { transferHandlers } from 'comlink'
import { HeddleError, errorOfCode, isErrorCode, type ErrorDetails } from '../core/errors.ts'

/**
 * Errors keep their class, code, details and cause across threads. Comlink's own "throw" handler carries the name, message
 * and stack alone; replacing it on both sides is how that is mended (its key is not documented: a test pins it).
 */

interface WireError {
  readonly isError: true
  readonly name: string
  readonly message: string
  readonly stack?: string
  readonly code?: string
  readonly details?: ErrorDetails
  readonly cause?: WireError | WireValue
}

interface WireValue {
  readonly isError: false
  readonly value: unknown
}

const THROWN = 'throw'

/** Installs the handler in this thread; further calls change nothing. */
export function installErrorTransfer(): void {
  const original = transferHandlers.get(THROWN)
  if (original === undefined) throw new Error('comlink has no "throw" transfer handler: its version is not supported')
  transferHandlers.set(THROWN, {
    canHandle: (value): value is unknown => original.canHandle(value),
    serialize: (thrown: unknown) => [toWire((thrown as { value: unknown }).value), []],
    deserialize: (wire: unknown) => {
      throw fromWire(wire as WireError | WireValue)
    },
  })
}

/** A thrown value as plain data; a value that cannot be cloned becomes its text. */
export function toWire(thrown: unknown): WireError | WireValue {
  if (!(thrown instanceof Error)) return { isError: false, value: cloneable(thrown) }
  return {
    isError: true,
    name: thrown.name,
    message: thrown.message,
    ...(thrown.stack === undefined ? {} : { stack: thrown.stack }),
    ...(thrown instanceof HeddleError ? { code: thrown.code, details: thrown.details } : {}),
    ...(thrown.cause === undefined ? {} : { cause: toWire(thrown.cause) }),
  }
}

/** The value that `toWire` took apart, with its class where the class is one of ours. */
export function fromWire(wire: WireError | WireValue): unknown {
  if (!wire.isError) return wire.value
  const cause = wire.cause === undefined ? undefined : fromWire(wire.cause)
  const options = cause === undefined ? {} : { cause }
  const error = isErrorCode(wire.code)
    ? errorOfCode(wire.code, wire.message, { ...options, ...(wire.details === undefined ? {} : { details: wire.details }) })
    : Object.assign(new Error(wire.message, options), { name: wire.name })
  if (wire.stack !== undefined) error.stack = wire.stack
  return error
}

function cloneable(value: unknown): unknown {
  try {
    return structuredClone(value)
  } catch {
    return String(value)
  }
}
