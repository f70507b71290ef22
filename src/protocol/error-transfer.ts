import { transferHandlers, type TransferHandler } from 'comlink'
import { HeddleError, errorOfCode, isErrorCode, type ErrorDetails } from '../core/errors.ts'

/**
 * Errors keep their class, code, details and cause across threads. Comlink's own "throw" handler carries the name,
 * message and stack alone; replacing it on both sides is how that is mended (its key is not documented: a test pins
 * it). The page may use Comlink for workers of its own, whose other side has Comlink's handler: so the form is
 * Comlink's, with more in it.
 */

interface WireError {
  readonly isError: true
  readonly value: {
    readonly name: string
    readonly message: string
    readonly stack?: string
    readonly code?: string
    readonly details?: ErrorDetails
    /** wrapped again: what caused the error */
    readonly wireCause?: WireError | WireValue
  }
}

interface WireValue {
  readonly isError: false
  readonly value: unknown
}

const THROWN = 'throw'

/** Marks a handler as Heddle's, in every copy of Heddle that uses the same Comlink. */
const BRAND = Symbol.for('heddle.error-transfer')

type Handler = TransferHandler<unknown, unknown>

/** This copy's handler, made once: one made anew at each start of a lane would wrap the last one, without end. */
let handler: Handler | undefined

/** Installs the handler in this thread, unless this or another copy of Heddle has done so. */
export function installErrorTransfer(): void {
  const installed = transferHandlers.get(THROWN)
  if (installed === undefined) throw new Error('comlink has no "throw" transfer handler: its version is not supported')
  if (BRAND in installed) return
  handler ??= makeHandler(installed)
  transferHandlers.set(THROWN, handler)
}

function makeHandler(original: Handler): Handler & { readonly [BRAND]: true } {
  return {
    [BRAND]: true,
    canHandle: (value): value is unknown => original.canHandle(value),
    serialize: (thrown: unknown) => [toWire((thrown as { value: unknown }).value), []],
    deserialize: (wire: unknown) => {
      throw fromWire(wire as WireError | WireValue)
    },
  }
}

/** The error as one of this copy's classes, where it is a HeddleError of another copy, whose handler took it in. */
export function ownError(error: unknown): unknown {
  if (error instanceof HeddleError || !isForeign(error)) return error
  const { message, cause, details, stack } = error
  const own = errorOfCode(error.code, message, { cause, details })
  if (stack !== undefined) own.stack = stack
  return own
}

function isForeign(error: unknown): error is HeddleError {
  return (
    error instanceof Error &&
    isErrorCode((error as Partial<HeddleError>).code) &&
    error.name === (error as Partial<HeddleError>).code
  )
}

/** A thrown value as plain data; a value that cannot be cloned becomes its text. */
export function toWire(thrown: unknown): WireError | WireValue {
  if (!(thrown instanceof Error)) return { isError: false, value: cloneable(thrown) }
  const { name, message, stack, cause } = thrown
  const value = {
    name,
    message,
    ...(stack === undefined ? {} : { stack }),
    ...(thrown instanceof HeddleError || isForeign(thrown) ? { code: thrown.code, details: thrown.details } : {}),
    ...(cause === undefined ? {} : { wireCause: toWire(cause) }),
  }
  return { isError: true, value }
}

/** The value that `toWire`, or Comlink's own handler, took apart; with its class where the class is one of ours. */
export function fromWire(wire: WireError | WireValue): unknown {
  if (!wire.isError) return wire.value
  const { name, message, stack, code, details, wireCause } = wire.value
  const cause = wireCause === undefined ? {} : { cause: fromWire(wireCause) }
  const error = isErrorCode(code)
    ? errorOfCode(code, message, { ...cause, ...(details === undefined ? {} : { details }) })
    : Object.assign(new Error(message, cause), { name })
  if (stack !== undefined) error.stack = stack
  return error
}

function cloneable(value: unknown): unknown {
  try {
    return structuredClone(value)
  } catch {
    return String(value)
  }
}
