// Measures the WebGPU kernels in Node (through the optional package webgpu) and in Chromium, next to tfjs and, where
// --onnxruntime DIR names an installed onnxruntime-web, its WebGPU provider. Prints a table; writes build/bench-webgpu.json.
//
//   node scripts/bench-webgpu.mjs [--sizes 1024,4096] [--head-sizes 64,128] [--heads 8] [--onnxruntime DIR] [--only node|chromium]
//
// HEDDLE_CHROMIUM_FLAGS adds flags, such as --enable-features=Vulkan on Linux.
import { cp, mkdir, rm, writeFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'
import { build } from 'esbuild'
import { findChromium } from './pack-check/chromium.mjs'
import { serveFolder } from './pack-check/serve-folder.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const { values } = parseArgs({
  options: {
    'sizes': { type: 'string', default: '1024,2048,4096,8192,16384,32768' },
    'head-sizes': { type: 'string', default: '64,128' },
    'heads': { type: 'string', default: '8' },
    'onnxruntime': { type: 'string' },
    'only': { type: 'string' },
  },
})
const numbers = (text) => text.split(',').map(Number)
const suite = { sizes: numbers(values.sizes), headSizes: numbers(values['head-sizes']), heads: Number(values.heads) }
const folder = path.resolve('build/bench-webgpu')
await rm(folder, { recursive: true, force: true })
await mkdir(folder, { recursive: true })
const shared = { bundle: true, format: 'esm', target: 'es2022', logLevel: 'warning', loader: { '.wasm': 'binary' } }
await build({ ...shared, entryPoints: ['bench/webgpu/node.ts'], platform: 'node', outfile: `${folder}/node.mjs` })
await build({ ...shared, entryPoints: ['bench/webgpu/page.ts'], platform: 'browser', outfile: `${folder}/page.js` })
await writeFile(`${folder}/index.html`, '<!doctype html><script type="module" src="page.js"></script>')

const results = {}
if (values.only !== 'chromium') results.node = await attempt('Node', runInNode)
if (values.only !== 'node') results.chromium = await attempt('Chromium', runInChromium)
const machine = { node: process.version, processor: cpus()[0]?.model, platform: `${process.platform} ${process.arch}` }
await writeFile('build/bench-webgpu.json', JSON.stringify({ machine, suite, results }, null, 2))
console.log('written to build/bench-webgpu.json')
process.exit(0)

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

async function runInChromium() {
  if (values.onnxruntime !== undefined) await cp(path.join(values.onnxruntime, 'dist'), `${folder}/onnxruntime`, { recursive: true })
  const server = await serveFolder(folder, { policy: null })
  const { chromium } = await import('playwright-core')
  const flags = ['--no-sandbox', '--enable-unsafe-webgpu', '--disable-background-networking', ...(process.env.HEDDLE_CHROMIUM_FLAGS ?? '').split(' ').filter(Boolean)]
  const browser = await chromium.launch({ executablePath: findChromium(), args: flags })
  try {
    const page = await browser.newPage()
    page.setDefaultTimeout(0)
    page.on('console', (message) => message.type() === 'log' && console.log(message.text()))
    await page.goto(server.address)
    await page.waitForFunction(() => globalThis.benchWebGpu !== undefined)
    const onnxruntimeUrl = values.onnxruntime === undefined ? null : `${server.address}onnxruntime/ort.webgpu.min.mjs`
    return await page.evaluate((options) => globalThis.benchWebGpu(options), { ...suite, onnxruntimeUrl })
  } finally {
    await browser.close()
    await server.close()
  }
}
