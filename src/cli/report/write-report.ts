import { access, constants, mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { UsageError } from '../usage-error.ts'

/** What a command leaves behind: its findings, a page about them, and the page's plots as files of their own, by name. */
export interface ReportFiles {
  readonly data: unknown
  readonly html: string
  readonly plots: Readonly<Record<string, string>>
}

/** Makes a report's folder before the work, not after it. @throws {UsageError} when nothing can be written there */
export async function prepareFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true })
    await access(folder, constants.W_OK)
  } catch (cause) {
    throw new UsageError(`--out: expected a folder that can be written, got '${folder}' (${(cause as NodeJS.ErrnoException).code ?? 'unwritable'})`, { cause })
  }
}

/** Writes `NAME.json`, `NAME.html` and `NAME-PLOT.svg` into a folder, which is made if it is missing. @returns the first two paths */
export async function writeReport(folder: string, name: string, { data, html, plots }: ReportFiles): Promise<{ readonly json: string; readonly html: string }> {
  await mkdir(folder, { recursive: true })
  const paths = { json: path.join(folder, `${name}.json`), html: path.join(folder, `${name}.html`) }
  const drawings = Object.entries(plots).map(([plot, svg]) => writeFile(path.join(folder, `${name}-${plot}.svg`), `${svg}\n`))
  await Promise.all([writeFile(paths.json, `${JSON.stringify(data, null, 2)}\n`), writeFile(paths.html, html), ...drawings])
  return paths
}
