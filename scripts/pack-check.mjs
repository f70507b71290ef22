// Packs the package and uses it as its users will: content of the tarball, the examples installed from it, the
// quick cases of the matrix of toolchains, and sizes.
// node scripts/pack-check.mjs [--keep]     HEDDLE_REQUIRE_BROWSER=1 makes a missing Chromium a failure.
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { quickChecks } from './matrix/quick-checks.mjs'
import { exampleChecks } from './pack-check/examples.mjs'
import { metadataChecks } from './pack-check/metadata.mjs'
import { sizeChecks } from './pack-check/size.mjs'
import { pack, tarballChecks } from './pack-check/tarball.mjs'

const root = path.resolve(fileURLToPath(import.meta.url), '../..')
const keep = process.argv.includes('--keep')
const folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-pack-'))
let passed = 0
let failed = 0
let skipped = 0

try {
  const packed = await pack(root, folder)
  for (const check of [
    ...tarballChecks(packed, root),
    ...metadataChecks(packed),
    ...exampleChecks(packed, root, folder),
    ...quickChecks(packed, folder),
    ...sizeChecks(packed, folder),
  ])
    await report(check)
} finally {
  if (keep) console.log(`kept: ${folder}`)
  else await rm(folder, { recursive: true, force: true })
}
console.log(`pack check: ${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
process.exitCode = failed > 0 ? 1 : 0

/** A check passes, throws, or returns why it was left out. */
async function report({ name, run }) {
  const startMs = performance.now()
  try {
    const outcome = await run()
    if (typeof outcome === 'string') skipped++
    else passed++
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1)
    console.log(typeof outcome === 'string' ? `- ${name}: skipped, ${outcome}` : `✓ ${name} (${seconds} s)`)
  } catch (error) {
    failed++
    console.log(`✗ ${name}\n    ${String(error.stack ?? error).replaceAll('\n', '\n    ')}`)
  }
}
