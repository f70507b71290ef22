/** The literal `code` of every failure that Heddle raises. */
export type HeddleErrorCode =
  | 'ShapeError'
  | 'OptionError'
  | 'MemoryBudgetError'
  | 'BackendUnavailableError'
  | 'WorkerLostError'
  | 'RuntimeClosedError'
  | 'ProtocolError'
  | 'FormatError'
  | 'NumericError'
  | 'StoreError'

/** Plain facts beside the message, for programs: sizes, limits, names. They cross threads with the error. */
export type ErrorDetails = Readonly<Record<string, unknown>>

export interface HeddleErrorOptions {
  readonly cause?: unknown
  readonly details?: ErrorDetails
}

/** The same symbol in every copy of the package: what tells our errors from others. */
const BRAND = Symbol.for('heddle.error')

/**
 * The base of every failure. The message says what was expected and what came.
 *
 * @example
 * ```js
 * import { attention, HeddleError, tensor } from 'heddle'
 *
 * const [x, y] = [tensor(new Float32Array(6), [2, 3]), tensor(new Float32Array(8), [2, 4])]
 * try {
 *   await attention({ query: x, key: y, value: y })
 * } catch (error) {
 *   if (HeddleError.is(error)) console.log(error.code) // ShapeError
 * }
 * ```
 */
export class HeddleError extends Error {
  /** What kind of failure it is, for programs to tell apart. */
  readonly code: HeddleErrorCode
  /** Facts of the failure by name, such as the bytes that a budget would need. */
  readonly details: ErrorDetails

  /**
   * @param code what kind of failure it is
   * @param message what was expected and what came
   */
  constructor(code: HeddleErrorCode, message: string, options: HeddleErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = code
    this.code = code
    this.details = options.details ?? {}
  }

  /**
   * Whether `value` is an error of this class (`HeddleError.is` for all of them, `OptionError.is` for one), also one of
   * another copy of the package or of another realm, for which `instanceof` is false.
   *
   * @param value anything, such as what was caught
   */
  static is<Class extends abstract new (...args: never) => HeddleError>(
    this: Class,
    value: unknown,
  ): value is InstanceType<Class> {
    const error = value as (HeddleError & { readonly [BRAND]?: true }) | null | undefined
    if (error?.[BRAND] !== true) return false
    return (this as unknown) === HeddleError || (classes[error.code] as unknown) === this || error instanceof this
  }

  /** @internal On the prototype, so that errors print without it. */
  get [BRAND](): true {
    return true
  }
}

/** A tensor's rank, length or size does not fit the others. */
export class ShapeError extends HeddleError {
  /** @param message what was expected and what came */
  constructor(message: string, options?: HeddleErrorOptions) {
    super('ShapeError', message, options)
  }
}

/** An option has an unknown name, a wrong type or a value outside its range. */
export class OptionError extends HeddleError {
  /** @param message what was expected and what came */
  constructor(message: string, options?: HeddleErrorOptions) {
    super('OptionError', message, options)
  }
}

/**
 * The work does not fit the memory budget, or the engine refused an allocation (then `cause` holds its error).
 *
 * @example
 * ```js
 * import { createRuntime, MemoryBudgetError } from 'heddle'
 *
 * const runtime = await createRuntime({ memoryBudgetBytes: 100_000 })
 * const shape = [100_000, 64]
 * try {
 *   runtime.plan({ query: shape, key: shape, value: shape })
 * } catch (error) {
 *   // The message says which budget would do.
 *   if (MemoryBudgetError.is(error)) console.log(error.message)
 * }
 * await runtime.close()
 * ```
 */
export class MemoryBudgetError extends HeddleError {
  /** @param message what was expected and what came */
  constructor(message: string, options?: HeddleErrorOptions) {
    super('MemoryBudgetError', message, options)
  }

  /** The smallest budget, in bytes, with which the same call would run; undefined when the engine itself refused. */
  get smallestBudgetBytes(): number | undefined {
    const bytes = this.details['smallestBudgetBytes']
    return typeof bytes === 'number' ? bytes : undefined
  }
}

/** This host cannot run the backend that was asked for. */
export class BackendUnavailableError extends HeddleError {
  /** @param message what was expected and what came */
  constructor(message: string, options?: HeddleErrorOptions) {
    super('BackendUnavailableError', message, options)
  }
}

/** Workers died more often than a task is retried. */
export class WorkerLostError extends HeddleError {
  /** @param message what happened, and why */
  constructor(message: string, options?: HeddleErrorOptions) {
    super('WorkerLostError', message, options)
  }
}

/** The runtime was closed before or during the call. */
export class RuntimeClosedError extends HeddleError {
  /** @param message what happened, and why */
  constructor(message: string, options?: HeddleErrorOptions) {
    super('RuntimeClosedError', message, options)
  }
}

/** A worker speaks another version of the protocol. */
export class ProtocolError extends HeddleError {
  /** @param message what was expected and what came */
  constructor(message: string, options?: HeddleErrorOptions) {
    super('ProtocolError', message, options)
  }
}

/** A file or state dict is malformed. */
export class FormatError extends HeddleError {
  /** @param message what was expected and what came */
  constructor(message: string, options?: HeddleErrorOptions) {
    super('FormatError', message, options)
  }
}

/** A guard met NaN or an infinity. */
export class NumericError extends HeddleError {
  /** @param message what was expected and what came */
  constructor(message: string, options?: HeddleErrorOptions) {
    super('NumericError', message, options)
  }
}

/**
 * A store could not be read or written, or holds nothing under a name; `cause` holds the system's error where there is
 * one.
 */
export class StoreError extends HeddleError {
  /** @param message what was expected and what came */
  constructor(message: string, options?: HeddleErrorOptions) {
    super('StoreError', message, options)
  }
}

const classes: Readonly<Record<HeddleErrorCode, new (message: string, options?: HeddleErrorOptions) => HeddleError>> = {
  ShapeError,
  OptionError,
  MemoryBudgetError,
  BackendUnavailableError,
  WorkerLostError,
  RuntimeClosedError,
  ProtocolError,
  FormatError,
  NumericError,
  StoreError,
}

/** The error of the class that belongs to `code`; used where an error comes out of another thread. */
export function errorOfCode(code: HeddleErrorCode, message: string, options?: HeddleErrorOptions): HeddleError {
  return new classes[code](message, options)
}

/** Whether `value` is one of the literal codes. */
export function isErrorCode(value: unknown): value is HeddleErrorCode {
  return typeof value === 'string' && Object.hasOwn(classes, value)
}
