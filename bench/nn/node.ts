import path from 'node:path'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { peakGflops } from '../kernels/peak.ts'
import type { Modules } from './block-peers.ts'
import { blockLines, measureBlock, type BlockBench, type BlockRow } from './measure-block.ts'

const ONNXRUNTIME = ['ort.wasm.min.mjs', 'ort.min.mjs']

/** The same in Node. @param folder of the installed peers */
export async function benchBlocks(benches: readonly BlockBench[], folder: string): Promise<BlockRow[]> {
  const peak = peakGflops('fused') ?? peakGflops('multiply + add')
  console.log(`  peak of one core ${peak?.gflops.toFixed(1)} GFLOP/s`)
  const rows: BlockRow[] = []
  for (const bench of benches) {
    const measured = await measureBlock(bench, modulesOf(folder))
    for (const line of blockLines(measured)) console.log(line)
    rows.push(...measured)
  }
  return rows
}

function modulesOf(folder: string): Modules {
  return {
    load: (id) => (id === 'onnxruntime-web' ? loadFirst(path.join(folder, 'node_modules', id, 'dist'), ONNXRUNTIME) : import(id)),
    address: (id) => `${path.dirname(createRequire(import.meta.url).resolve(`${id}/package.json`))}/dist/`,
  }
}

async function loadFirst(folder: string, [name = '', ...others]: readonly string[]): Promise<unknown> {
  const file = pathToFileURL(path.join(folder, name)).href
  return others.length === 0 ? import(file) : import(file).catch(() => loadFirst(folder, others))
}
