import { mkdir, readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'
import { assert, npm } from './commands.mjs'

/** What a page loads that calls `attention` and nothing else, gzipped: its script, the worker and one kernel binary. */
const MAX_GZIPPED_BYTES = 75_000

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
  const bytesOf = async (files) =>
    gzipSync(Buffer.concat(await Promise.all(files.map((file) => readFile(file)))), { level: 9 }).length
  const script = await bytesOf(atStart(outputs))
  const kernels = Object.keys(outputs).filter((file) =>
    Object.keys(outputs[file].inputs).some((input) => path.basename(input).startsWith('binary-')),
  )
  const kernel = Math.max(...(await Promise.all(kernels.map((file) => bytesOf([file])))))
  const worker = await bytesOf([path.join(folder, 'node_modules/heddle/dist/wasm-worker.js')])
  console.log(`  script ${script}, kernels ${kernel}, worker ${worker} bytes`)
  assert(kernels.length === 2, `expected a file for each of two kernel binaries, got ${kernels.length}`)
  assert(
    script + kernel + worker < MAX_GZIPPED_BYTES,
    `expected less than ${MAX_GZIPPED_BYTES} bytes, got ${script + kernel + worker}`,
  )
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
