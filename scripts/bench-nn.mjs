// Bundles bench/nn and runs it under this Node, over the last build: node scripts/bench-nn.mjs --onnx FOLDER --tfjs
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
await mkdir('build', { recursive: true })
const outfile = path.resolve('build/bench-nn.mjs')
const external = ['heddle', 'heddle/*', '@tensorflow/*']
await build({ entryPoints: ['bench/nn/block.ts'], bundle: true, platform: 'node', format: 'esm', target: 'node20', external, outfile, logLevel: 'warning' })
await import(pathToFileURL(outfile).href)
