// A post-norm block (E 512, 8 heads, feed-forward 2048) beside the same block on onnxruntime-web and tfjs-wasm: in Node one
// thread against one, in Chromium also two against two. Prints a line for each; writes build/bench-layers.json.
//
//   npm run bench:layers -- [--tokens 512,2048] [--rounds 9] [--only node|chromium] [--tfjs] [--quick]
//
// --quick: what is installed already, no peers. --tfjs: also tfjs-wasm, ten times slower, at the first size.
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { installPeers, peersFolder, serveHeddle, serveOnnxruntime, serveTfjs } from './bench/peer-packages.mjs'
import { CHROMIUM_FLAGS, findChromium } from './pack-check/chromium.mjs'
import { serveFolder } from './pack-check/serve-folder.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { values } = parseArgs({
  options: {
    tokens: { type: 'string', default: '512,2048' },
    rounds: { type: 'string', default: '9' },
    only: { type: 'string' },
    tfjs: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
  },
})
const sizes = values.tokens.split(',').map(Number)
const folder = path.resolve('build/bench-layers')
await rm(folder, { recursive: true, force: true })
await mkdir(folder, { recursive: true })
if (!values.quick) await installPeers(['onnxruntime-web'])

const results = {}
if (values.only !== 'chromium') results.node = await inNode()
if (values.only !== 'node') results.chromium = await inChromium()
const machine = { node: process.version, processor: cpus()[0]?.model, cores: cpus().length, platform: `${process.platform} ${process.arch}` }
await writeFile('build/bench-layers.json', JSON.stringify({ machine, results }, null, 2))
console.log('written to build/bench-layers.json')
process.exit(0)

/** One thread each, and Heddle's lanes where the peer has none to set against them. */
function benches(threads, workers) {
  return sizes.map((tokens, index) => ({ tokens, rounds: Number(values.rounds), workers, threads: values.quick ? 0 : threads, tfjs: values.tfjs && index === 0 }))
}

async function inNode() {
  console.log(`Node ${process.versions.node}:`)
  await build({ entryPoints: ['bench/nn/node.ts'], bundle: true, platform: 'node', format: 'esm', target: 'node20', external: ['heddle', 'heddle/*', '@tensorflow/*'], outfile: `${folder}/node.mjs`, logLevel: 'warning' })
  const { benchBlocks } = await import(pathToFileURL(`${folder}/node.mjs`).href)
  return await benchBlocks(benches(1, [1, 2]), peersFolder)
}

async function inChromium() {
  const executablePath = findChromium()
  if (executablePath === undefined) return void console.log('Chromium: not measured, there is none on the PATH (apt-get install chromium)')
  await servePage()
  const server = await serveFolder(folder, { policy: null, isolated: true })
  const { chromium } = await import('playwright-core')
  const rows = []
  try {
    for (const bench of [...benches(1, [1]), ...benches(2, [2])]) rows.push(...(await inPage(chromium, executablePath, server.address, bench)))
  } finally {
    await server.close()
  }
  return rows
}

async function servePage() {
  await serveHeddle(folder, ['index', 'nn'])
  await serveTfjs(folder)
  if (!values.quick) await serveOnnxruntime(folder)
  await build({ entryPoints: ['bench/nn/page.ts'], bundle: true, platform: 'browser', format: 'esm', target: 'es2022', external: ['heddle', 'heddle/*', '@tensorflow/*'], outfile: `${folder}/page.js`, logLevel: 'warning' })
  await writeFile(`${folder}/index.html`, '<!doctype html><script type="module" src="page.js"></script>')
}

/** A browser for each: the peers settle their threads once a page. */
async function inPage(chromium, executablePath, address, bench) {
  const browser = await chromium.launch({ executablePath, args: CHROMIUM_FLAGS })
  try {
    const page = await browser.newPage()
    page.setDefaultTimeout(0)
    page.on('console', (message) => message.type() === 'log' && console.log(message.text()))
    await page.goto(address)
    await page.waitForFunction(() => globalThis.benchBlock !== undefined)
    console.log(`Chromium ${browser.version()}, ${bench.threads || bench.workers[0]} thread${(bench.threads || bench.workers[0]) === 1 ? '' : 's'} each:`)
    return await page.evaluate((options) => globalThis.benchBlock(options), bench)
  } finally {
    await browser.close()
  }
}
