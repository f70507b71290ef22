import { access, constants, lstat, mkdir, open } from 'node:fs/promises'
import path from 'node:path'
import type { Drawing } from '../../plots/frame.ts'
import { UsageError } from '../usage-error.ts'

/**
 * What a command leaves behind: its findings, a page about them, and the page's plots as files of their own, by name.
 */
export interface ReportFiles {
  readonly data: unknown
  readonly html: string
  readonly plots: Readonly<Record<string, Drawing>>
}

/** For a file that is written again in its place: a symbolic link there would lead to another one, and is refused. */
const WRITE_HERE = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | (constants.O_NOFOLLOW ?? 0)

/**
 * Makes a report's folder before the work, not after it. @throws {UsageError} when nothing can be written there, or it
 * is a symbolic link
 */
export async function prepareFolder(folder: string): Promise<void> {
  const isLink = await lstat(path.resolve(folder)).then(
    (found) => found.isSymbolicLink(),
    () => false,
  )
  if (isLink) throw new UsageError(`--out: expected a folder, got '${folder}', a symbolic link`)
  try {
    await mkdir(folder, { recursive: true })
    await access(folder, constants.W_OK)
  } catch (cause) {
    throw new UsageError(
      `--out: expected a folder that can be written, got '${folder}' (${(cause as NodeJS.ErrnoException).code ?? 'unwritable'})`,
      { cause },
    )
  }
}

/**
 * Writes `NAME.json`, `NAME.html` and `NAME-PLOT.svg` into a folder, which is made if it is missing. @returns the first
 * two paths
 */
export async function writeReport(
  folder: string,
  name: string,
  { data, html, plots }: ReportFiles,
): Promise<{ readonly json: string; readonly html: string }> {
  await prepareFolder(folder)
  const paths = { json: path.join(folder, `${name}.json`), html: path.join(folder, `${name}.html`) }
  const drawings = Object.entries(plots).map(([plot, draw]) =>
    writeHere(path.join(folder, `${name}-${plot}.svg`), `${draw({})}\n`),
  )
  await Promise.all([
    writeHere(paths.json, `${JSON.stringify(data, null, 2)}\n`),
    writeHere(paths.html, html),
    ...drawings,
  ])
  return paths
}

/** Writes a file of the report. @throws {UsageError} where there is a symbolic link */
export async function writeHere(file: string, text: string): Promise<void> {
  const opened = await open(file, WRITE_HERE).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== 'ELOOP') throw cause
    throw new UsageError(`--out: expected a file that can be written, got '${file}', a symbolic link`, { cause })
  })
  try {
    await opened.writeFile(text)
  } finally {
    await opened.close()
  }
}
