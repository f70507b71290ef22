import { errorOfCode, HeddleError } from '../core/errors.ts'

/** The same error, with a message that says where it came up. Others, such as an abort's reason, stay as they are. */
export function saidIn(where: string, error: unknown): unknown {
  return error instanceof HeddleError
    ? errorOfCode(error.code, `${where}: ${error.message}`, { cause: error, details: error.details })
    : error
}
