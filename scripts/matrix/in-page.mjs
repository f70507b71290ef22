import { spawn } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import path from 'node:path'
import { chromium } from 'playwright-core'
import { CHROMIUM_FLAGS, findChromium } from '../pack-check/chromium.mjs'
import { serveFolder } from '../pack-check/serve-folder.mjs'
import { NotTried } from './project.mjs'

let browser = null

/** What the page of a folder comes to; `serve` are the server's options. */
export async function siteResult(site, serve = { policy: null }, page = '') {
  const server = await serveFolder(site, serve)
  try {
    return await pageResult(`${server.address}${page}`)
  } finally {
    await server.close()
  }
}

/** What a page leaves in its title, and whether its workers came from a file or from text. */
export async function pageResult(address) {
  browser ??= await launch()
  const context = await browser.newContext()
  try {
    const page = await context.newPage()
    const problems = []
    const workers = []
    page.on('worker', (worker) => workers.push(worker.url()))
    page.on('pageerror', (error) => problems.push(String(error)))
    page.on('console', (message) => message.type() === 'error' && problems.push(message.text()))
    await page.goto(address)
    await page
      .waitForFunction(() => document.title.startsWith('{'), undefined, { timeout: 60_000 })
      .catch(() => Promise.reject(new Error(`expected a result in the title, got none\n${problems.join('\n')}`)))
    const result = JSON.parse(await page.title())
    if (result.transport === undefined || result.transport === 'local') return result
    return { ...result, from: workers.at(-1)?.startsWith('blob:') ? 'text' : 'the file' }
  } finally {
    await context.close()
  }
}

async function launch() {
  const executablePath = findChromium()
  if (executablePath === undefined) throw new NotTried('no Chromium on the PATH')
  return chromium.launch({ executablePath, args: CHROMIUM_FLAGS })
}

export async function closeBrowser() {
  await browser?.close()
  browser = null
}

/**
 * Runs a program of the project's own that serves pages, until `body` has ended.
 *
 * @param makeArgs the arguments, for a free port
 */
export async function withServer(cwd, bin, makeArgs, body) {
  const port = await freePort()
  const bins = path.join(cwd, 'node_modules', '.bin')
  const child = spawn(path.join(bins, bin), makeArgs(port), {
    cwd,
    // The project's own Node, where it has one, runs the server.
    env: {
      ...process.env,
      PATH: `${bins}${path.delimiter}${process.env.PATH}`,
      NEXT_TELEMETRY_DISABLED: '1',
      ASTRO_TELEMETRY_DISABLED: '1',
      NODE_ENV: undefined,
    },
    detached: true,
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (said += data))
  try {
    const address = `http://localhost:${port}/`
    await untilAnswers(address, () => `${bin} does not answer:\n${said}`)
    return await body(address)
  } finally {
    process.kill(-child.pid, 'SIGKILL')
  }
}

async function untilAnswers(address, explain) {
  for (let tries = 0; tries < 240; tries++) {
    if (
      await fetch(address).then(
        (response) => response.ok,
        () => false,
      )
    )
      return
    await new Promise((resolve) => setTimeout(resolve, 250))
  }
  throw new Error(explain())
}

function freePort() {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => resolve(port))
    })
  })
}

/** @throws where a script that was built holds the folder that it was built in */
export async function checkNoPath(site, folder) {
  for (const name of await readdir(site, { recursive: true })) {
    if (!/\.[cm]?js$/.test(name)) continue
    const text = await readFile(path.join(site, name), 'utf8')
    const at = text.indexOf(`file://${folder}`)
    if (at >= 0) throw new Error(`expected no path of this machine, got ${text.slice(at, at + 120)} in ${name}`)
  }
}
