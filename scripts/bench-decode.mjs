// Decoding: `attention` is one token with grouped heads beside onnxruntime-web, in turns; `tokens` is a small Llama
// with random weights on the calling thread. Times are processor time.
//
//   npm run build && node scripts/bench-decode.mjs attention [keys] [rounds]
//   npm run build && node scripts/bench-decode.mjs tokens [prompt tokens] [new tokens]
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { installPeers, peersFolder } from './bench/peer-packages.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
await mkdir('build', { recursive: true })
if (process.argv[2] !== 'tokens') await installPeers(['onnxruntime-web'])
process.env.PEER ??= path.join(peersFolder, 'node_modules/onnxruntime-web/dist')
const outfile = path.resolve('build/bench-decode.mjs')
await build({
  entryPoints: ['bench/decode/node.ts'],
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  external: ['heddle', 'heddle/models'],
  outfile,
  logLevel: 'warning',
})
await import(pathToFileURL(outfile).href)
