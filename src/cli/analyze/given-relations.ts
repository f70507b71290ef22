import { readFile } from 'node:fs/promises'
import type { AnalysisOptions } from '../../analysis/index.ts'
import { stringOption } from '../option-values.ts'
import type { OptionValues } from '../command.ts'
import { UsageError } from '../usage-error.ts'

/**
 * The pairs of positions in the file of `--relations`: `{ "noun to its adjective": [[5, 4], …], … }`. The analysis
 * checks the pairs themselves.
 *
 * @throws {UsageError} when the file cannot be read, or is no JSON object
 */
export async function givenRelations(values: OptionValues): Promise<Pick<AnalysisOptions, 'relations'>> {
  const file = stringOption(values, 'relations')
  if (file === undefined) return {}
  const text = await readFile(file, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw new UsageError(
      `--relations: expected a file that can be read, got '${file}' (${cause.code ?? 'unreadable'})`,
      { cause },
    )
  })
  return { relations: parsedObject(text, file) as NonNullable<AnalysisOptions['relations']> }
}

function parsedObject(text: string, file: string): object {
  const shape = '{ "name": [[query, key], …], … }'
  try {
    const parsed: unknown = JSON.parse(text)
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed)) return parsed
  } catch (cause) {
    throw new UsageError(`--relations: expected JSON, ${shape}, got '${file}' (${(cause as Error).message})`, { cause })
  }
  throw new UsageError(`--relations: expected an object, ${shape}, got '${file}'`)
}
