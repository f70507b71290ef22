import { OptionError } from './errors.ts'
import { foreignName } from './foreign-names.ts'
import { describe } from './tensor.ts'

/**
 * Checks of option values. `what` names the call and the option: `attention: option scale`.
 * Each throws an OptionError that says what was expected and what came.
 */

export function checkBoolean(what: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean') throw expected(what, 'true or false', value)
}

export function checkFinite(what: string, value: unknown): asserts value is number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw expected(what, 'a finite number', value)
}

/** An integer in [from, to]. */
export function checkInteger(
  what: string,
  value: unknown,
  from: number,
  to = Number.MAX_SAFE_INTEGER,
): asserts value is number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= from && value <= to) return
  const range = to === Number.MAX_SAFE_INTEGER ? `an integer ≥ ${from}` : `an integer from ${from} to ${to}`
  throw expected(what, range, value)
}

export function checkFunction(what: string, value: unknown): asserts value is (...input: never[]) => unknown {
  if (typeof value !== 'function') throw expected(what, 'a function', value)
}

/** An AbortSignal, of this host or of a polyfill, or undefined. */
export function checkedSignal(what: string, signal: unknown): AbortSignal | undefined {
  if (signal === undefined) return undefined
  const candidate: { readonly aborted?: unknown; addEventListener?: unknown } | null = signal
  if (
    typeof candidate !== 'object' ||
    candidate === null ||
    typeof candidate.aborted !== 'boolean' ||
    typeof candidate.addEventListener !== 'function'
  ) {
    throw expected(what, 'an AbortSignal', signal)
  }
  return candidate as AbortSignal
}

export function checkOneOf<T extends string>(what: string, value: unknown, choices: readonly T[]): asserts value is T {
  if (!choices.includes(value as T))
    throw expected(what, choices.map((choice) => JSON.stringify(choice)).join(' or '), value)
}

/** The largest finite float32. */
const LARGEST_FLOAT32 = (2 - 2 ** -23) * 2 ** 127

/** A finite number that is one in float32 too, where kernels compute. */
export function checkFloat32(what: string, value: unknown): asserts value is number {
  checkFinite(what, value)
  if (Math.abs(value) > LARGEST_FLOAT32)
    throw expected(what, `a number within float32's range, ±${LARGEST_FLOAT32.toPrecision(4)}`, value)
}

/**
 * An object whose names are all among `names`: a typo must not pass.
 *
 * @returns its own properties, each read once: what is inherited, or changes later, does not count
 */
export function checkNames<T>(what: string, value: T, names: readonly string[]): T & object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw expected(what, 'an object', value)
  const own = Object.create(null) as Record<string, unknown>
  for (const name of Object.keys(value)) {
    own[name] = (value as Record<string, unknown>)[name]
    if (names.includes(name)) continue
    const near = foreignName(name, names) ?? nearest(name, names)
    throw new OptionError(
      `${what}: expected names among ${names.join(', ')}, got ${JSON.stringify(name)}${near === undefined ? '' : ` (did you mean ${near}?)`}`,
    )
  }
  return own as T & object
}

/** The error of a value that is not what was expected. */
export function expected(what: string, expectation: string, value: unknown): OptionError {
  return new OptionError(`${what}: expected ${expectation}, got ${describe(value)}`)
}

/** The name within an edit distance of two, if one is. */
function nearest(name: string, names: readonly string[]): string | undefined {
  const plain = name.toLowerCase().replaceAll('_', '')
  const [best] = names
    .map((candidate) => ({ candidate, distance: editDistance(plain, candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance)
  return best !== undefined && best.distance <= 2 ? best.candidate : undefined
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}
