import { mkdirSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, expect } from 'vitest'
import { findChromium } from '../../browser/support/find-chromium.ts'
import { servePage, type PageServer } from './serve-page.ts'

const SHOTS = fileURLToPath(new URL('../../../build/page-shots/', import.meta.url))
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

export interface VisitOptions {
  readonly view?: string
  /** the page's folder in `build/`. @default 'demo' */
  readonly built?: 'demo' | 'library-page' | 'document-search'
  readonly theme?: 'light' | 'dark'
  readonly width?: number
  readonly language?: 'en-US' | 'ko-KR'
  /** whether workers may share memory with the page. @default true */
  readonly isolated?: boolean
  readonly reducedMotion?: boolean
  /** runs in the page before its own scripts */
  readonly before?: string
}

/** A page that was opened, with everything that should not happen on it. */
export interface Visit {
  readonly browser: Browser
  readonly page: Page
  /** exceptions, errors on the console (refusals by the content security policy among them) */
  readonly problems: string[]
  /** addresses beyond the page's own host */
  readonly elsewhere: string[]
}

/** One browser for a file of tests; pages are closed after each test. */
export function usePage(): (options?: VisitOptions) => Promise<Visit> {
  let browser: Browser
  const servers = new Map<string, Promise<PageServer>>()
  const contexts: BrowserContext[] = []
  beforeAll(async () => {
    mkdirSync(SHOTS, { recursive: true })
    browser = await chromium.launch({
      executablePath: findChromium() ?? '',
      args: [
        '--no-sandbox',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
        '--no-first-run',
      ],
    })
  })
  afterEach(() => Promise.all(contexts.splice(0).map((context) => context.close())))
  afterAll(async () => {
    await browser.close()
    await Promise.all([...servers.values()].map(async (server) => (await server).close()))
  })
  return async (options = {}) => {
    const {
      view = 'book',
      built = 'demo',
      theme = 'light',
      width = 1280,
      language = 'en-US',
      isolated = true,
      reducedMotion = false,
      before,
    } = options
    const context = await browser.newContext({
      viewport: { width, height: 900 },
      colorScheme: theme,
      locale: language,
      reducedMotion: reducedMotion ? 'reduce' : 'no-preference',
    })
    contexts.push(context)
    // Far above what any step takes, also beside other work on the machine.
    context.setDefaultTimeout(20_000)
    const page = await context.newPage()
    const visit: Visit = { browser, page, problems: [], elsewhere: [] }
    const { url } = await serverOf(servers, built, isolated)
    page.on('pageerror', (error) => visit.problems.push(error.message))
    page.on('console', (message) => {
      if (message.type() === 'error') visit.problems.push(message.text())
    })
    page.on('request', (request) => {
      if (!request.url().startsWith(url)) visit.elsewhere.push(request.url())
    })
    if (before !== undefined) await page.addInitScript({ content: before })
    await page.goto(`${url}#/${view}`)
    return visit
  }
}

/** The server of a page, started for the first test that asks for it. */
function serverOf(servers: Map<string, Promise<PageServer>>, built: string, isolated: boolean): Promise<PageServer> {
  const key = `${built} ${isolated}`
  const server = servers.get(key) ?? servePage(isolated, built)
  servers.set(key, server)
  return server
}

/** A picture of the whole page, in `build/page-shots/`. */
export async function shoot({ page }: Visit, name: string): Promise<void> {
  await page.screenshot({ path: `${SHOTS}${name}.png`, fullPage: true, animations: 'disabled' })
}

/** What the main thread did during a stretch of a test. */
export interface MainThread {
  readonly tasks: number
  /** milliseconds of the longest task */
  readonly longestMs: number
}

interface TraceEvent {
  readonly name: string
  readonly pid: number
  readonly tid: number
  readonly args: { readonly name?: string }
  /** microseconds of the thread's own time */
  readonly tdur?: number
}

/**
 * Traces the page while `act` runs. Tasks count with the time that the thread itself worked: where other processes want
 * the core as well, the clock goes on while a task waits for its turn, and `PerformanceObserver` would report that as a
 * long task.
 */
export async function traceMainThread({ browser, page }: Visit, act: () => Promise<void>): Promise<MainThread> {
  await browser.startTracing(page, { categories: ['toplevel', 'disabled-by-default-devtools.timeline'] })
  let trace: Uint8Array = new Uint8Array()
  try {
    await act()
  } finally {
    trace = await browser.stopTracing()
  }
  const { traceEvents } = JSON.parse(new TextDecoder().decode(trace)) as { readonly traceEvents: readonly TraceEvent[] }
  const key = ({ pid, tid }: TraceEvent): string => `${pid}:${tid}`
  const main = new Set(
    traceEvents.filter(({ name, args }) => name === 'thread_name' && args.name === 'CrRendererMain').map(key),
  )
  const tasks = traceEvents.filter((event) => event.name === 'RunTask' && main.has(key(event)))
  return { tasks: tasks.length, longestMs: Math.max(0, ...tasks.map(({ tdur = 0 }) => tdur / 1000)) }
}

/** No task of the main thread works for longer than `limitMs`. */
export function expectNoLongTask({ tasks, longestMs }: MainThread, limitMs = 50): void {
  // A trace that saw nothing would pass otherwise.
  expect(tasks).toBeGreaterThan(20)
  expect(longestMs).toBeLessThan(limitMs)
}

/**
 * Nothing that axe-core calls serious or critical, no exception, no refusal by the policy, no request elsewhere, no
 * sideways scrolling.
 */
export async function expectSound({ page, problems, elsewhere }: Visit): Promise<void> {
  expect(problems).toEqual([])
  expect(elsewhere).toEqual([])
  // A color half-way between two has a contrast that nobody sees for long.
  await page.evaluate(
    'Promise.allSettled(document.getAnimations().filter((one) => one instanceof CSSTransition).map(({ finished }) => finished)).then(() => {})',
  )
  await page.evaluate(AXE)
  const violations = await page.evaluate<{ id: string; impact: string; nodes: { html: string }[] }[]>(
    'axe.run().then(({ violations }) => violations)',
  )
  const serious = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  expect(
    serious.map(
      ({ id, nodes }) =>
        `${id}: ${nodes
          .slice(0, 3)
          .map(({ html }) => html.slice(0, 160))
          .join(' | ')}`,
    ),
  ).toEqual([])
  expect(
    await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth'),
  ).toBeLessThanOrEqual(0)
}
