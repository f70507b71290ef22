// Bundles one of bench/kernels (attention, options, linear, outer) and runs it under this Node, with the kernels of the
// last build.
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { bundleForNode } from './bench/bundle.mjs'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
const [name = 'attention'] = process.argv.slice(2)
const folder = path.resolve('build/bench-kernels')
await bundleForNode(folder, { [name]: `bench/kernels/${name}.ts` })
await import(pathToFileURL(`${folder}/${name}.mjs`).href)
