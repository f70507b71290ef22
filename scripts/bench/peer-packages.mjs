// The peers that benches run beside Heddle: installed outside of this project's own dependencies, and served to pages.
import { execFile } from 'node:child_process'
import { cp, mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'

const VERSIONS = { 'onnxruntime-web': '1.30', 'onnxruntime-node': '1.30', '@jax-js/jax': '0.1.25' }
const PAGE = { bundle: true, format: 'esm', target: 'es2022', logLevel: 'error', platform: 'browser' }

/** Where installed peers stand. */
export const peersFolder = path.resolve(fileURLToPath(import.meta.url), '../../../build/peers')

/** @param names of packages that VERSIONS lists */
export async function installPeers(names) {
  const packages = names.map((name) => `${name}@${VERSIONS[name]}`)
  await mkdir(peersFolder, { recursive: true })
  await writeFile(`${peersFolder}/package.json`, '{ "private": true }')
  console.log(`installing ${packages.join(', ')} into build/peers`)
  await promisify(execFile)(
    'npm',
    ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', ...packages],
    { cwd: peersFolder },
  )
}

/** Copies an installed peer's files beside a page, under peers/. */
export async function serveOnnxruntime(folder) {
  await cp(`${peersFolder}/node_modules/onnxruntime-web/dist`, `${folder}/peers/onnxruntime-web`, {
    recursive: true,
    filter: (file) => !/\.map$/.test(file),
  })
}

export async function serveJax(folder) {
  await build({
    ...PAGE,
    entryPoints: [`${peersFolder}/node_modules/@jax-js/jax/dist/index.js`],
    outfile: `${folder}/peers/jax.js`,
  })
}

/** tfjs with its wasm backend, which this project has for its tests, as tfjs.js and tfjs/. */
export async function serveTfjs(folder) {
  const contents =
    "export * from '@tensorflow/tfjs-core'; export { setThreadsCount, setWasmPaths } from '@tensorflow/tfjs-backend-wasm'"
  await build({ ...PAGE, stdin: { contents, resolveDir: process.cwd() }, outfile: `${folder}/tfjs.js` })
  await cp('node_modules/@tensorflow/tfjs-backend-wasm/dist', `${folder}/tfjs`, {
    recursive: true,
    filter: (file) => !/\.(ts|map)$/.test(file),
  })
}

/** The library and its worker as a page loads them; `entries` of dist share their chunks. */
export async function serveHeddle(folder, entries = ['index']) {
  await build({ ...PAGE, splitting: true, entryPoints: entries.map((entry) => `dist/${entry}.js`), outdir: folder })
  for (const file of ['worker.js', 'wasm-worker.js']) await cp(`dist/${file}`, `${folder}/${file}`)
}
