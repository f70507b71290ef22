import { OptionError } from './errors.ts'
import type { TensorData } from './tensor.ts'

/**
 * Runs a call on memory that its caller lends to it. A buffer that is transferred or shrunk meanwhile has no bytes to
 * read or write any more: depending on when that happens, engines throw, or read zeros.
 *
 * @param arrays the caller's, inputs and results
 * @throws {OptionError} when one of them has another length at the end; else what `run` throws
 */
export async function withBorrowed<T>(what: string, arrays: Iterable<TensorData>, run: () => Promise<T>): Promise<T> {
  const lengths = [...new Set(arrays)].map((array) => [array, array.length] as const)
  const check = (cause?: unknown): void => {
    for (const [array, length] of lengths) {
      if (array.length === length) continue
      const message = `${what}: expected the memory of inputs and out to stay as it is until the call ends, got a buffer that was transferred or resized`
      throw new OptionError(`${message}: an array of ${length} elements has ${array.length}`, { cause })
    }
  }
  let result: T
  try {
    result = await run()
  } catch (error) {
    check(error)
    throw error
  }
  check()
  return result
}
