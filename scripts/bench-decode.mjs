// Decoding: `attention` is one token with grouped heads beside onnxruntime-web, in turns; `tokens` is a small Llama
// with random weights on the calling thread. Times are processor time.
//
//   npm run build && node scripts/bench-decode.mjs attention [keys] [rounds]
//   npm run build && node scripts/bench-decode.mjs tokens [prompt tokens] [new tokens]
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { installPeers, peersFolder } from './bench/peer-packages.mjs'
import { bundleForNode } from './bench/bundle.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
if (process.argv[2] !== 'tokens') await installPeers(['onnxruntime-web'])
process.env.PEER ??= path.join(peersFolder, 'node_modules/onnxruntime-web/dist')
const folder = path.resolve('build/bench-decode')
await bundleForNode(folder, { node: 'bench/decode/node.ts' })
await import(pathToFileURL(`${folder}/node.mjs`).href)
