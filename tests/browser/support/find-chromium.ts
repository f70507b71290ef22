import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome']

/**
 * The path of a Chromium: that of HEDDLE_CHROMIUM, or one on the PATH. Undefined where none is found, which is said.
 *
 * @throws where none is found and HEDDLE_REQUIRE_BROWSER is 1
 */
export function findChromium(): string | undefined {
  const found = pathOfChromium()
  if (found !== undefined) return found
  const message =
    'Browser tests are skipped: no Chromium found; apt-get install chromium, or set HEDDLE_CHROMIUM to one'
  if (process.env['HEDDLE_REQUIRE_BROWSER'] === '1') throw new Error(message)
  console.warn(message)
  return undefined
}

function pathOfChromium(): string | undefined {
  const named = process.env['HEDDLE_CHROMIUM']
  if (named !== undefined && named !== '') return named
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return NAMES.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
