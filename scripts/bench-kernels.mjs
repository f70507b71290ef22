// Bundles one of bench/kernels (attention, options, linear, outer) and runs it under this Node, with the kernels of the
// last build.
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
await mkdir('build', { recursive: true })
const [name = 'attention'] = process.argv.slice(2)
const outfile = path.resolve('build/bench-kernels.mjs')
await build({
  entryPoints: [`bench/kernels/${name}.ts`],
  bundle: true,
  platform: 'node',
  format: 'esm',
  target: 'node20',
  outfile,
  logLevel: 'warning',
})
await import(pathToFileURL(outfile).href)
