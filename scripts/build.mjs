// Builds everything that the package ships: kernels (AssemblyScript), the library, the worker, the command, and the
// types. `--without-types` keeps the types of the build before, for those who build again and again.
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs'
import { chmod, copyFile, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { deflateRawSync } from 'node:zlib'
import { build } from 'esbuild'
import { rollUpTypes } from './types/roll-up-types.mjs'

const root = path.resolve(fileURLToPath(import.meta.url), '../..')
const run = promisify(execFile)
const require = createRequire(import.meta.url)
const version = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')).version

/**
 * Sets of kernels, each a binary of its own per target. Those of gradients share the memory of attention's, so their
 * constants stand behind its.
 */
const KERNELS = { attention: [], gradients: ['--memoryBase', '2560'], rows: [] }
const TARGETS = ['simd', 'relaxed']

/** Library entries: output name → source. Those that exist are built. */
const ENTRIES = {
  index: 'src/index.ts',
  nn: 'src/nn/index.ts',
  train: 'src/train/index.ts',
  analysis: 'src/analysis/index.ts',
  models: 'src/models/index.ts',
  tfjs: 'src/interop/tfjs/index.ts',
  fleet: 'src/fleet/index.ts',
}

process.chdir(root)
await buildKernels()
// Built beside the old one and swapped at the end: a build that fails leaves the old one usable.
const out = `build/dist-${process.pid}`
try {
  const withTypes = !process.argv.includes('--without-types') || typesIn('dist').length === 0
  const parts = [buildScripts(), ...(withTypes ? [buildTypes()] : [])]
  await Promise.all(parts)
  if (!withTypes) await keepTypes()
  await rm('dist', { recursive: true, force: true })
  await rename(out, 'dist')
} catch (error) {
  await rm(out, { recursive: true, force: true })
  console.error(`build failed: ${error.message}`)
  process.exitCode = 1
}

/** Each set of kernels as two binaries of one source; skipped while they are newer than the sources. */
async function buildKernels() {
  const sources = ['asconfig.json', ...filesUnder('assembly')]
  const newest = Math.max(...sources.map((file) => statSync(file).mtimeMs))
  await mkdir('build', { recursive: true })
  const binaries = Object.keys(KERNELS).flatMap((set) =>
    TARGETS.map((target) => ({ set, target, file: `build/heddle-${set}-${target}.wasm` })),
  )
  await Promise.all(
    binaries.filter(({ file }) => !existsSync(file) || statSync(file).mtimeMs < newest).map(compileKernels),
  )
  // In text, as bundles carry it, a compressed binary takes a third less than one that is compressed with the text.
  for (const { file } of binaries)
    await writeFile(`${file}.deflate`, deflateRawSync(await readFile(file), { level: 9 }))
}

function compileKernels({ set, target, file }) {
  const asc = require.resolve('assemblyscript/bin/asc.js')
  const options = ['--config', 'asconfig.json', '--target', target, '--outFile', file, ...KERNELS[set]]
  return run(process.execPath, [asc, `assembly/${set}.ts`, ...options])
}

function options(extra) {
  return {
    bundle: true,
    format: 'esm',
    target: ['es2022', 'node20', 'chrome114', 'firefox121', 'safari17'],
    outdir: out,
    sourcemap: false,
    legalComments: 'none',
    loader: { '.wasm': 'binary', '.deflate': 'base64', '.txt': 'text' },
    define: { HEDDLE_VERSION: JSON.stringify(version) },
    logLevel: 'warning',
    ...extra,
  }
}

/** The workers first: the library carries the program of one as text. */
async function buildScripts() {
  const inWorkers = await buildWorkers()
  const [, inCommand] = await Promise.all([buildLibrary(), buildCommand()])
  await writeLicences([...inWorkers, ...inCommand])
}

/** Entries share chunks, all beside the worker, so that its address is the same from each. */
async function buildLibrary() {
  const entryPoints = presentEntries()
  const external = ['comlink', '@tensorflow/*', 'webgpu', '@huggingface/tokenizers', 'bullmq', 'ioredis', 'node:*']
  await build(options({ entryPoints, splitting: true, chunkNames: '[name]-[hash]', platform: 'neutral', external }))
}

/**
 * Self-contained files, which bundlers emit as they are: one for every lane, kernels included, and a small one for WASM
 * lanes.
 */
async function buildWorkers() {
  const result = await build(
    options({
      metafile: true,
      entryPoints: { worker: 'workers/worker.ts', 'wasm-worker': 'workers/wasm-worker.ts' },
      platform: 'neutral',
      mainFields: ['module', 'main'],
      minify: true,
      external: ['webgpu'],
    }),
  )
  await copyFile(`${out}/wasm-worker.js`, 'build/wasm-worker.txt')
  return Object.keys(result.metafile.inputs)
}

/** The command carries its own tools. @returns the files that it is made of, as `buildWorkers` does */
async function buildCommand() {
  if (!existsSync('src/cli/main.ts')) return []
  const result = await build(
    options({
      entryPoints: { cli: 'src/cli/main.ts' },
      platform: 'node',
      splitting: false,
      metafile: true,
      banner: {
        js: '#!/usr/bin/env node\nimport { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
      },
      external: [
        'heddle',
        'heddle/*',
        'comlink',
        'webgpu',
        '@tensorflow/*',
        '@stdlib/*',
        '@huggingface/tokenizers',
        'bullmq',
        'ioredis',
      ],
    }),
  )
  await chmod(`${out}/cli.js`, 0o755)
  await copyFile('src/cli/run/opening-chapters.txt', `${out}/opening-chapters.txt`)
  return Object.keys(result.metafile.inputs)
}

/** Of every package whose code is in a file of ours. */
async function writeLicences(inputs) {
  const names = new Set(inputs.flatMap((file) => /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? []))
  const texts = await Promise.all([...names].sort().map(licenceOf))
  await writeFile(`${out}/THIRD_PARTY_LICENSES`, texts.join('\n\n'))
}

async function licenceOf(name) {
  const folder = path.join('node_modules', name)
  const { license, version: installed } = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8'))
  const file = readdirSync(folder).find((entry) => /^licen[cs]e/i.test(entry))
  const text = file === undefined ? `(${license})` : await readFile(path.join(folder, file), 'utf8')
  return `${name} ${installed} (${license})\n\n${text.trim()}`
}

/** The compiler's declarations, rolled up into one file per entry. */
async function buildTypes() {
  const folder = `${out}/types`
  const tsc = path.join(path.dirname(require.resolve('typescript/package.json')), 'bin/tsc')
  await run(process.execPath, [tsc, '--project', 'tsconfig.build.json', '--outDir', folder]).catch((error) => {
    throw new Error(error.stdout || error.message)
  })
  await rollUpTypes({ folder, entries: presentEntries(), out })
  await writeFile(`${out}/worker.d.ts`, 'export {}\n') // it is started, and exports nothing
}

/** Of a build before. */
async function keepTypes() {
  for (const name of typesIn('dist')) await copyFile(`dist/${name}`, `${out}/${name}`)
}

function typesIn(folder) {
  return existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.d.ts')) : []
}

function presentEntries() {
  return Object.fromEntries(Object.entries(ENTRIES).filter(([, source]) => existsSync(source)))
}

function filesUnder(folder) {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
}
