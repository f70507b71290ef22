import path from 'node:path'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import type { Modules } from './block-peers.ts'
import { measureBlock, type BlockBench } from './measure-block.ts'

const ONNXRUNTIME = ['ort.wasm.min.mjs', 'ort.min.mjs']

// One contender in a process of its own, so that threads of one do not stand in another's way:
// node node.mjs BENCH.json FOLDER_OF_PEERS
const [bench = '{}', folder = ''] = process.argv.slice(2)

process.send?.(await measureBlock(JSON.parse(bench) as BlockBench, modulesOf(folder)))
process.exit(0)

function modulesOf(folder: string): Modules {
  return {
    load: (id) =>
      id === 'onnxruntime-web' ? loadFirst(path.join(folder, 'node_modules', id, 'dist'), ONNXRUNTIME) : import(id),
    address: (id) => `${path.dirname(createRequire(import.meta.url).resolve(`${id}/package.json`))}/dist/`,
  }
}

async function loadFirst(folder: string, [name = '', ...others]: readonly string[]): Promise<unknown> {
  const file = pathToFileURL(path.join(folder, name)).href
  return others.length === 0 ? import(file) : import(file).catch(() => loadFirst(folder, others))
}
