import { existsSync } from 'node:fs'
import path from 'node:path'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']
export const CHROMIUM_FLAGS = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/**
 * Runs `body` with a page of the system's Chromium. @returns why it was left out, where there is none and none is
 * required
 */
export async function withPage(body) {
  const executablePath = findChromium()
  if (executablePath === undefined) {
    if (process.env.HEDDLE_REQUIRE_BROWSER === '1')
      throw new Error(`expected a Chromium on the PATH (one of ${NAMES.join(', ')}), got none`)
    return 'no Chromium on the PATH'
  }
  const { chromium } = await import('playwright-core')
  const browser = await chromium.launch({ executablePath, args: CHROMIUM_FLAGS })
  try {
    const page = await browser.newPage()
    const problems = []
    page.on('pageerror', (error) => problems.push(String(error)))
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
    await body(page)
    if (problems.length > 0) throw new Error(`expected no error in the page, got:\n${problems.join('\n')}`)
    return undefined
  } finally {
    await browser.close()
  }
}

/** The Chromium that HEDDLE_CHROMIUM names, or the first on the PATH. */
export function findChromium() {
  if (process.env.HEDDLE_CHROMIUM) return process.env.HEDDLE_CHROMIUM
  const folders = (process.env.PATH ?? '').split(path.delimiter)
  return folders.flatMap((folder) => NAMES.map((name) => path.join(folder, name))).find((file) => existsSync(file))
}
