// Tries to break the built package for a while, and prints what it tried: npm run torture -- --budget 10m [--seed N]
// [--only TEXT] [--cases N] [--json]. With --cases each promise gets so many, whatever the time that takes.
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

process.chdir(path.resolve(fileURLToPath(import.meta.url), '../..'))
await mkdir('build', { recursive: true })
await build({
  entryPoints: ['scripts/torture/main.ts'],
  outfile: 'build/torture.mjs',
  bundle: true,
  format: 'esm',
  platform: 'node',
  external: ['heddle', 'heddle/*', 'fast-check', 'comlink', 'esbuild', 'playwright-core', 'webgpu'],
  logLevel: 'warning',
})
await import(pathToFileURL('build/torture.mjs').href)
