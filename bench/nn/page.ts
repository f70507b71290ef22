import type { Modules } from './block-peers.ts'
import { measureBlock, type BlockBench, type BlockTimes } from './measure-block.ts'

/** Files that the bench serves beside the page. */
const FILES: Readonly<Record<string, string>> = {
  heddle: '/index.js',
  'heddle/nn': '/nn.js',
  '@tensorflow/tfjs-core': '/tfjs.js',
  '@tensorflow/tfjs-backend-wasm': '/tfjs.js',
  'onnxruntime-web': '/peers/onnxruntime-web/ort.wasm.min.mjs',
}

const modules: Modules = { load: (id) => import(/* @vite-ignore */ FILES[id] ?? id), address: () => '/tfjs/' }

declare global {
  // Called by the script that opens the page.
  var benchBlock: (bench: BlockBench) => Promise<BlockTimes>
}

globalThis.benchBlock = (bench) => measureBlock(bench, modules)
