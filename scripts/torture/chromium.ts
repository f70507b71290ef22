import { mkdir, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { build } from 'esbuild'
import { chromium, type Browser, type Page } from 'playwright-core'
import { findChromium } from '../../tests/browser/support/find-chromium.ts'
import { serveFolder } from '../pack-check/serve-folder.mjs'
import type { Promised } from './promise.ts'

const FOLDER = path.resolve('build/torture-page')
const FLAGS = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking']

/** Two pages of one Chromium: one that may share memory with its workers, and one that may not. */
export class Pages {
  #browser: Browser | undefined
  readonly #ends: (() => Promise<unknown>)[] = []
  readonly #pages = new Map<boolean, Promise<Page>>()

  constructor(private readonly executablePath: string) {}

  page(isolated: boolean): Promise<Page> {
    const page = this.#pages.get(isolated) ?? this.#open(isolated)
    this.#pages.set(isolated, page)
    return page
  }

  async #open(isolated: boolean): Promise<Page> {
    if (this.#browser === undefined) {
      await buildPage()
      this.#browser = await chromium.launch({ executablePath: this.executablePath, args: FLAGS })
    }
    const server = await serveFolder(FOLDER, { policy: null, isolated })
    this.#ends.push(server.close)
    const page = await this.#browser.newPage()
    await page.goto(server.address)
    await page.waitForFunction('typeof lose === "function"')
    return page
  }

  async close(): Promise<void> {
    await this.#browser?.close()
    await Promise.all(this.#ends.map((end) => end()))
    await rm(FOLDER, { recursive: true, force: true })
  }
}

/** The page's script and Heddle's worker, each in one file. */
async function buildPage(): Promise<void> {
  await mkdir(FOLDER, { recursive: true })
  await build({
    entryPoints: { page: 'scripts/torture/page.ts', worker: 'dist/worker.js' },
    outdir: FOLDER,
    bundle: true,
    format: 'esm',
    platform: 'browser',
    // The package says that its files have no side effects; the worker has.
    ignoreAnnotations: true,
    alias: { heddle: './dist/index.js', 'heddle/nn': './dist/nn.js', 'heddle/train': './dist/train.js' },
    external: ['node:*', '@huggingface/tokenizers'],
    logLevel: 'warning',
  })
  await writeFile(
    path.join(FOLDER, 'index.html'),
    '<!doctype html><meta charset="utf-8"><title>torture</title><script type="module" src="page.js"></script>',
  )
}

/** Workers of a page, lost in ways that no event tells of. None where there is no Chromium. */
export function lostInChromium(pages: Pages | undefined): Promised[] {
  if (pages === undefined) return []
  return ['terminate()', 'self.close()', 'silence'].map((how) => ({
    promise: `Chromium: workers lost by ${how}, in any workload: the same bits, or WorkerLostError`,
    seconds: 20,
    attempt: async (random) => {
      const page = await pages.page(random.chance(0.5))
      const call = `lose(${JSON.stringify(how)}, ${random.integer(0, 2 ** 30)})`
      return page.evaluate<number>(call)
    },
  }))
}

/** @throws where a Chromium is required and none is found */
export function findPages(): Pages | undefined {
  const executablePath = findChromium()
  return executablePath === undefined ? undefined : new Pages(executablePath)
}
