import { mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'

/** Writes `NAME.json` and `NAME.html` into a folder, which is made if it is missing. @returns both paths */
export async function writeReport(folder: string, name: string, data: unknown, html: string): Promise<{ readonly json: string; readonly html: string }> {
  await mkdir(folder, { recursive: true })
  const paths = { json: path.join(folder, `${name}.json`), html: path.join(folder, `${name}.html`) }
  await Promise.all([writeFile(paths.json, `${JSON.stringify(data, null, 2)}\n`), writeFile(paths.html, html)])
  return paths
}
