import { createRequire } from 'node:module'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Packages } from './contenders.ts'
import { measurePeer } from './measure.ts'

// One contender at one size, in a process of its own, so that memory and failures are its own:
// node peers-node.mjs CONTENDER TOKENS HEADS HEAD_SIZE FOLDER
const [name = '', tokens, heads, headSize, folder = ''] = process.argv.slice(2)

// jax-js expects the browser's name even where there is none, as in Node 20.
if (typeof navigator === 'undefined') Object.defineProperty(globalThis, 'navigator', { value: {} })

const packages: Packages = {
  load: (id) =>
    id === 'heddle' || id.startsWith('@tensorflow/') ? import(id) : import(pathToFileURL(entryOf(id)).href),
  address: (id) => `${path.dirname(createRequire(import.meta.url).resolve(`${id}/package.json`))}/dist/`,
}

/** The package in the folder of installed peers, by the file that suits this host. */
function entryOf(id: string): string {
  const own = { 'onnxruntime-web': 'dist/ort.wasm.min.mjs', '@jax-js/jax': 'dist/index.js' }[id]
  return own === undefined
    ? createRequire(`${folder}/package.json`).resolve(id)
    : path.join(folder, 'node_modules', id, own)
}

const before = process.memoryUsage.rss()
try {
  const measured = await measurePeer(
    name,
    { tokens: Number(tokens), heads: Number(heads), headSize: Number(headSize) },
    packages,
  )
  // maxRSS is in KiB. The growth holds the data that every contender gets, in its own form.
  process.send?.({ ...measured, residentBytes: process.resourceUsage().maxRSS * 1024 - before })
} catch (error) {
  process.send?.({ failure: error instanceof Error ? error.message : String(error) })
}
process.exit(0)
