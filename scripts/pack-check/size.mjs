import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { assert, npm } from './commands.mjs'

/** What a page loads that calls `attention` and nothing else, gzipped: its script, the worker and one kernel binary. */
const MAX_GZIPPED_BYTES = 70_000
/** Modules of kernels, each a file of its own; those of attention alone are fetched here, in one of two variants. */
const KERNEL_FILES = /^binary-(attention|gradients|rows)-(simd|relaxed)/

export function sizeChecks({ tarball }, folder) {
  return [
    {
      name: `size: a page that uses attention alone loads less than ${MAX_GZIPPED_BYTES / 1000} kB, gzipped`,
      run: () => checkSize(path.join(folder, 'small-page'), tarball),
    },
  ]
}

async function checkSize(folder, tarball) {
  await mkdir(folder, { recursive: true })
  await writeFile(path.join(folder, 'package.json'), '{ "private": true }')
  await npm(['install', tarball], folder)
  await writeFile(path.join(folder, 'page.mjs'), "import { attention } from 'heddle'\nattention({})\n")
  const options = {
    bundle: true,
    minify: true,
    splitting: true,
    format: 'esm',
    target: 'es2022',
    outdir: path.join(folder, 'site'),
    metafile: true,
    logLevel: 'error',
  }
  const {
    metafile: { outputs },
  } = await build({ ...options, entryPoints: [path.join(folder, 'page.mjs')] })
  const kernels = kernelFiles(outputs)
  assert(kernels.length === 6, `expected a file for each of six kernel binaries, got ${kernels.length}`)
  const [script, worker, ...ofAttention] = await Promise.all([
    sizesOf(atStart(outputs)),
    sizesOf([path.join(folder, 'node_modules/heddle/dist/wasm-worker.js')]),
    ...kernels.filter(({ set }) => set === 'attention').map(({ file }) => sizesOf([file])),
  ])
  const kernel = ofAttention.reduce((most, each) => (each.gzip > most.gzip ? each : most))
  const total = (format) => script[format] + worker[format] + kernel[format]
  for (const format of ['gzip', 'brotli'])
    console.log(
      `  ${format}: ${total(format)} bytes, of them script ${script[format]}, worker ${worker[format]}, kernels ${kernel[format]}`,
    )
  assert(total('gzip') < MAX_GZIPPED_BYTES, `expected less than ${MAX_GZIPPED_BYTES} bytes, got ${total('gzip')}`)
}

async function sizesOf(files) {
  const bytes = Buffer.concat(await Promise.all(files.map((file) => readFile(file))))
  return { gzip: gzipSync(bytes, { level: 9 }).length, brotli: brotliCompressSync(bytes).length }
}

/** The files that hold kernels, and of which set. */
function kernelFiles(outputs) {
  return Object.keys(outputs).flatMap((file) => {
    const names = Object.keys(outputs[file].inputs).map((input) => KERNEL_FILES.exec(path.basename(input)))
    const found = names.find((name) => name !== null)
    return found === undefined ? [] : [{ file, set: found[1] }]
  })
}

/** The files that the page loads at once: all but what it imports on demand. */
function atStart(outputs) {
  const found = new Set()
  const follow = (file) => {
    if (found.has(file)) return
    found.add(file)
    outputs[file].imports.filter(({ kind }) => kind === 'import-statement').forEach(({ path: next }) => follow(next))
  }
  follow(Object.keys(outputs).find((file) => outputs[file].entryPoint?.endsWith('page.mjs')))
  return [...found]
}
