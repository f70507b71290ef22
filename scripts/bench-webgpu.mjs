// Measures the WebGPU kernels in Node (through the optional package webgpu) and in Chromium, where tfjs, onnxruntime's
// WebGPU provider and jax-js run beside them. Every answer is checked before it is timed. Prints a line a case; writes
// build/bench-webgpu/results.json, a table in Markdown and a plot for each host.
//
// npm run bench:webgpu -- [--sizes 1024,4096] [--head-sizes 64,128] [--heads 8] [--only node|chromium] [--quick]
// [--write]
//
// --quick: one small size, and only what is installed already. --write: also docs/webgpu-*.{json,svg} and the tables of
// docs/webgpu.md. HEDDLE_CHROMIUM_FLAGS adds flags, such as --enable-features=Vulkan on Linux.
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { installPeers, serveJax, serveOnnxruntime } from './bench/peer-packages.mjs'
import { replaceBetween } from './bench/replace-between.mjs'
import { findChromium } from './pack-check/chromium.mjs'
import { serveFolder } from './pack-check/serve-folder.mjs'
import { bundleForNode, bundlePage } from './bench/bundle.mjs'
import { thisMachine } from './bench/this-machine.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { values } = parseArgs({
  options: {
    sizes: { type: 'string' },
    'head-sizes': { type: 'string' },
    heads: { type: 'string' },
    only: { type: 'string' },
    quick: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
  },
})
const numbers = (text) => text.split(',').map(Number)
const suite = {
  sizes: numbers(values.sizes ?? (values.quick ? '256' : '1024,2048,4096,8192,16384,32768')),
  headSizes: numbers(values['head-sizes'] ?? (values.quick ? '64' : '64,128')),
  heads: Number(values.heads ?? (values.quick ? 2 : 8)),
}
const folder = path.resolve('build/bench-webgpu')
await bundle()
const { gpuReport } = await import(pathToFileURL(`${folder}/report.mjs`).href)

const results = {}
if (values.only !== 'chromium') results.node = await attempt(`Node ${process.versions.node}`, runInNode)
if (values.only !== 'node') results.chromium = await attempt('Chromium', runInChromium)
await writeReports()
process.exit(0)

async function bundle() {
  await bundleForNode(folder, { node: 'bench/webgpu/node.ts', report: 'bench/webgpu/report.ts' })
  await bundlePage(folder, 'bench/webgpu/page.ts', [])
}

async function attempt(where, run) {
  console.log(`${where}:`)
  try {
    return await run()
  } catch (error) {
    console.log(`  not measured: ${error.message}`)
    return { failure: error.message }
  }
}

async function runInNode() {
  const { benchWebGpu } = await import(pathToFileURL(`${folder}/node.mjs`).href)
  return await benchWebGpu(suite)
}

/** The peers as the page loads them; a peer that cannot be had is left out, visibly. */
async function servePeers() {
  if (values.quick) return false
  try {
    await installPeers(['onnxruntime-web', '@jax-js/jax'])
    await serveOnnxruntime(folder)
    await serveJax(folder)
    return true
  } catch (error) {
    console.log(`  without onnxruntime and jax-js: ${error.message.split('\n')[0]}`)
    return false
  }
}

async function runInChromium() {
  const peers = await servePeers()
  const server = await serveFolder(folder, { policy: null })
  const { chromium } = await import('playwright-core')
  const flags = [
    '--no-sandbox',
    '--enable-unsafe-webgpu',
    '--disable-background-networking',
    ...(process.env.HEDDLE_CHROMIUM_FLAGS ?? '').split(' ').filter(Boolean),
  ]
  const browser = await chromium.launch({ executablePath: findChromium(), args: flags })
  try {
    const page = await browser.newPage()
    page.setDefaultTimeout(0)
    page.on('console', (message) => message.type() === 'log' && console.log(message.text()))
    await page.goto(server.address)
    await page.waitForFunction(() => globalThis.benchWebGpu !== undefined)
    const urls = {
      onnxruntimeUrl: peers ? `${server.address}peers/onnxruntime-web/ort.webgpu.min.mjs` : null,
      jaxUrl: peers ? `${server.address}peers/jax.js` : null,
    }
    return await page.evaluate((options) => globalThis.benchWebGpu(options), { ...suite, ...urls })
  } finally {
    await browser.close()
    await server.close()
  }
}

async function writeReports() {
  const machine = thisMachine()
  const json = JSON.stringify({ machine, suite, results }, null, 2) + '\n'
  await writeFile(`${folder}/results.json`, json)
  for (const [where, result] of Object.entries(results)) {
    if (result.failure !== undefined) continue
    const { markdown, plot } = gpuReport(where === 'node' ? `Node ${process.versions.node}` : 'Chromium', result)
    await writeFile(`${folder}/${where}.md`, `${markdown}\n`)
    if (plot !== null) await writeFile(`${folder}/${where}.svg`, plot)
    if (!values.write) continue
    if (plot !== null) await writeFile(`docs/webgpu-${where}.svg`, plot)
    await replaceBetween('docs/webgpu.md', `<!-- webgpu:${where} -->`, markdown)
  }
  if (values.write) await writeFile('docs/webgpu.json', json)
  console.log('written to build/bench-webgpu')
}
