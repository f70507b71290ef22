// Attention of Heddle and its peers, one after the other: every contender at every size in a process (or page) of its
// own, taking turns, each answer checked before it is timed. Prints a table; writes build/bench-peers/results.json and
// a plot.
//
//   npm run bench:peers -- [--sizes 512,1024,2048,4096,8192] [--rounds 3] [--only node|chromium] [--quick] [--write]
//
// --quick: one small size, and only what is installed already. --write: also docs/peers-*.{json,svg} and the table of
// docs/performance.md.
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { inProcess } from './bench/in-process.mjs'
import {
  installPeers,
  peersFolder,
  serveHeddle,
  serveJax,
  serveOnnxruntime,
  serveTfjs,
} from './bench/peer-packages.mjs'
import { replaceBetween } from './bench/replace-between.mjs'
import { CHROMIUM_FLAGS, findChromium } from './pack-check/chromium.mjs'
import { serveFolder } from './pack-check/serve-folder.mjs'
import { bundleForNode, bundlePage } from './bench/bundle.mjs'
import { thisMachine } from './bench/this-machine.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { values } = parseArgs({
  options: {
    sizes: { type: 'string' },
    rounds: { type: 'string' },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
const sizes = (values.sizes ?? (values.quick ? '256' : '512,1024,2048,4096,8192')).split(',').map(Number)
const rounds = Number(values.rounds ?? (values.quick ? 1 : 3))
const [HEADS, HEAD_SIZE, TIMEOUT_MS] = [8, 64, 60_000]
const folder = path.resolve('build/bench-peers')

if (!values.quick) await installPeers(['onnxruntime-web', 'onnxruntime-node', '@jax-js/jax'])
await bundle()
const { contendersFor, peerReport } = await import(pathToFileURL(`${folder}/report.mjs`).href)

const results = {}
if (values.only !== 'chromium')
  results.node = await measureAll(`Node ${process.versions.node}`, contendersFor('node', !values.quick), runInNode)
if (values.only !== 'node') {
  if (findChromium() === undefined)
    console.log('Chromium: not measured, there is none on the PATH (apt-get install chromium)')
  else
    await inChromium(
      async (run, version) =>
        (results.chromium = await measureAll(version, contendersFor('chromium', !values.quick), run)),
    )
}
const machine = thisMachine()
await writeReports()

async function bundle() {
  await bundleForNode(folder, { node: 'bench/peers/node.ts', report: 'bench/peers/report.ts' })
  await bundlePage(folder, 'bench/peers/page.ts')
  await serveHeddle(folder)
  await serveTfjs(folder)
  if (!values.quick) {
    await serveJax(folder)
    await serveOnnxruntime(folder)
  }
}

/**
 * Rounds in turns, so that a slow moment of the machine falls on all; a contender that failed once at a size is left
 * out after.
 */
async function measureAll(host, contenders, run) {
  const rows = []
  for (const tokens of sizes) {
    const atSize = contenders.map((name) => ({
      contender: name,
      tokens,
      times: [],
      residentBytes: [],
      worstError: 0,
      failure: undefined,
    }))
    for (let round = 0; round < rounds; round++) {
      for (const row of round % 2 === 0 ? atSize : [...atSize].reverse()) {
        if (row.failure !== undefined) continue
        const outcome = await run(row.contender, tokens)
        if (outcome.failure !== undefined) row.failure = outcome.failure
        else {
          row.times.push(...outcome.times)
          row.worstError = Math.max(row.worstError, outcome.worstError)
          if (outcome.residentBytes !== undefined) row.residentBytes.push(outcome.residentBytes)
        }
      }
    }
    rows.push(...atSize)
  }
  console.log(peerReport({ host, rows, heads: HEADS, headSize: HEAD_SIZE }).table)
  return { host, rows, heads: HEADS, headSize: HEAD_SIZE }
}

function runInNode(name, tokens) {
  return inProcess({ script: `${folder}/node.mjs`, timeoutMs: TIMEOUT_MS }, [
    name,
    tokens,
    HEADS,
    HEAD_SIZE,
    peersFolder,
  ])
}

/** Each measurement gets a browser of its own: a contender that runs out of memory may take its browser with it. */
async function inChromium(body) {
  const { chromium } = await import('playwright-core')
  const server = await serveFolder(folder, { policy: null, isolated: true })
  const launch = () => chromium.launch({ executablePath: findChromium(), args: CHROMIUM_FLAGS })
  try {
    const browser = await launch()
    const version = `Chromium ${browser.version()}`
    await browser.close()
    await body((name, tokens) => runInBrowser(launch, server.address, name, tokens), version)
  } finally {
    await server.close()
  }
}

async function runInBrowser(launch, address, name, tokens) {
  const browser = await launch()
  try {
    const page = await browser.newPage()
    await page.goto(address)
    await page.waitForFunction(() => globalThis.measurePeer !== undefined)
    const run = page.evaluate(
      ([contender, shape]) => globalThis.measurePeer(contender, shape),
      [name, { tokens, heads: HEADS, headSize: HEAD_SIZE }],
    )
    const late = new Promise((resolve) =>
      setTimeout(() => resolve({ failure: `took more than ${TIMEOUT_MS / 1000} s` }), TIMEOUT_MS).unref(),
    )
    return await Promise.race([run, late])
  } catch (error) {
    return { failure: error.message.split('\n')[0] }
  } finally {
    await browser.close().catch(() => undefined)
  }
}

async function writeReports() {
  await writeFile(`${folder}/results.json`, JSON.stringify({ machine, results }, null, 2))
  for (const [where, result] of Object.entries(results)) {
    const { plot, markdown } = peerReport(result)
    await writeFile(`${folder}/${where}.svg`, plot)
    if (!values.write) continue
    await writeFile(`docs/peers-${where}.svg`, plot)
    await replaceBetween('docs/performance.md', `<!-- peers:${where} -->`, markdown)
  }
  if (values.write) await writeFile('docs/peers.json', JSON.stringify({ machine, results }, null, 2) + '\n')
  console.log('written to build/bench-peers')
}
