import type { CommandOption, OptionValues } from './command.ts'
import { UsageError } from './usage-error.ts'

/** An option that takes an integer in [least, most]; undefined when it was not given. @throws {UsageError} */
export function integerOption(
  values: OptionValues,
  name: string,
  least: number,
  most = Number.MAX_SAFE_INTEGER,
): number | undefined {
  const text = values[name]
  if (text === undefined) return undefined
  const plain = typeof text === 'string' ? text.replaceAll(/[_,]/g, '') : ''
  const number = /^\d+$/.test(plain) ? Number(plain) : NaN
  if (!(number >= least && number <= most)) {
    const range = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`
    throw new UsageError(`--${name}: expected an integer ${range}, got '${text}'`)
  }
  return number
}

/** An option that takes a number above 0; undefined when it was not given. @throws {UsageError} */
export function positiveOption(values: OptionValues, name: string): number | undefined {
  const text = values[name]
  if (text === undefined) return undefined
  const number = typeof text === 'string' && text.trim() !== '' ? Number(text) : NaN
  if (!(number > 0 && number < Infinity)) throw new UsageError(`--${name}: expected a number above 0, got '${text}'`)
  return number
}

/** `--workers`, as every command that computes has it. */
export const WORKERS: CommandOption = {
  type: 'string',
  value: 'N|auto',
  summary: 'worker threads; 0 computes on the calling thread (default: auto)',
}

/** The value of `--workers`. @throws {UsageError} */
export function workersOption(values: OptionValues): number | 'auto' {
  return values['workers'] === 'auto' ? 'auto' : (integerOption(values, 'workers', 0, 256) ?? 'auto')
}

export function stringOption(values: OptionValues, name: string): string | undefined {
  const text = values[name]
  return typeof text === 'string' ? text : undefined
}

export function flag(values: OptionValues, name: string): boolean {
  return values[name] === true
}
