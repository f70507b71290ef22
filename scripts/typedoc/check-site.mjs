// The built reference: every link leads somewhere, and no page is wider than a phone. `npm run docs` runs it.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { chromium } from 'playwright-core'
import { CHROMIUM_FLAGS, findChromium } from '../pack-check/chromium.mjs'

const SITE = fileURLToPath(new URL('../../docs/api/', import.meta.url))
const PHONE = { width: 390, height: 844 }

const pages = readdirSync(SITE, { recursive: true }).filter(
  (file) => file.endsWith('.html') && !file.startsWith('media'),
)
const anchors = new Map()
const wrong = [...pages.flatMap(deadLinks), ...(await widePages())]
for (const each of wrong) console.error(each)
console.log(`reference: ${pages.length} pages; ${wrong.length} dead links or pages wider than ${PHONE.width} px`)
process.exitCode = wrong.length === 0 ? 0 : 1

function deadLinks(page) {
  const links = [...readFileSync(path.join(SITE, page), 'utf8').matchAll(/(?:href|src)="([^"]+)"/g)]
  return links.flatMap(([, link]) =>
    /^[a-z]+:/.test(link) || leadsSomewhere(page, link) ? [] : `${page}: dead link ${link}`,
  )
}

function leadsSomewhere(page, link) {
  const [target, anchor] = decodeURI(link).replaceAll('&amp;', '&').split('#')
  const file = target === '' ? path.join(SITE, page) : path.resolve(SITE, path.dirname(page), target)
  return existsSync(file) && (!anchor || !file.endsWith('.html') || anchorsOf(file).has(anchor))
}

function anchorsOf(file) {
  if (!anchors.has(file)) {
    const ids = [...readFileSync(file, 'utf8').matchAll(/\sid="([^"]+)"/g)].map(([, id]) => id.replaceAll('&amp;', '&'))
    anchors.set(file, new Set(ids))
  }
  return anchors.get(file)
}

/** Pages are laid out without their scripts, in half of the time. */
async function widePages() {
  const browser = await chromium.launch({ executablePath: findChromium(), args: CHROMIUM_FLAGS })
  const tab = await browser.newPage({ viewport: PHONE, javaScriptEnabled: false })
  const wide = []
  for (const page of pages) {
    await tab.goto(pathToFileURL(path.join(SITE, page)).href)
    const width = await tab.evaluate(() => document.scrollingElement.scrollWidth)
    if (width > PHONE.width) wide.push(`${page}: ${width} px wide at ${PHONE.width}`)
  }
  await browser.close()
  return wide
}
