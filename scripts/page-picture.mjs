// Draws docs/page.png: the page after a run over 65,536 words, and where one of them attends. Needs Chromium and `npm
// run demo:build`.
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'
import { preview } from 'vite'
import { CHROMIUM_FLAGS, findChromium } from './pack-check/chromium.mjs'

const HEIGHT = 1400
const WORDS = process.argv[2] ?? '65,536'

const root = fileURLToPath(new URL('..', import.meta.url))
const server = await preview({
  root: `${root}demo`,
  configFile: `${root}demo/vite.config.ts`,
  logLevel: 'silent',
  preview: { port: 0 },
})
const browser = await chromium.launch({ executablePath: findChromium(), args: CHROMIUM_FLAGS })
try {
  const page = await browser.newPage({ viewport: { width: 1200, height: 1000 }, locale: 'en-US', deviceScaleFactor: 1 })
  await page.goto(server.resolvedUrls.local[0])
  await page.getByRole('radio', { name: WORDS, exact: true }).check()
  await page.getByText(`${WORDS} of`).waitFor({ timeout: 60_000 })
  await page.getByRole('button', { name: 'Run attention' }).click()
  await page.getByText(/^Done in/).waitFor({ timeout: 400_000 })
  await page
    .locator('.page button', { hasText: /^ocean$/ })
    .first()
    .click()
  await page.locator('.places li').first().waitFor()
  await page.evaluate(() => scrollTo(0, 0))
  await page.screenshot({
    path: `${root}docs/page.png`,
    clip: { x: 0, y: 0, width: 1200, height: HEIGHT },
    fullPage: true,
    animations: 'disabled',
  })
} finally {
  await browser.close()
  await server.close()
}
