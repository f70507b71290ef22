// Packs the package, installs it into projects of many toolchains, makes a small attention call in each and checks its
// numbers, and writes the table of docs/bundlers.md.
// node scripts/matrix.mjs [--only TEXT,TEXT] [--quick] [--keep] [--list] [--tarball FILE: packed before]
import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { GROUPS } from './matrix/cases.mjs'
import { closeBrowser } from './matrix/in-page.mjs'
import { writeTable } from './matrix/table.mjs'
import { tryCase } from './matrix/try-case.mjs'
import { pack } from './pack-check/tarball.mjs'

const root = path.resolve(fileURLToPath(import.meta.url), '../..')
const { values } = parseArgs({
  options: {
    only: { type: 'string' },
    quick: { type: 'boolean' },
    keep: { type: 'boolean' },
    list: { type: 'boolean' },
    tarball: { type: 'string' },
  },
})
const wanted = values.only?.split(',').map((each) => each.trim().toLowerCase())
const cases = Object.values(GROUPS)
  .flat()
  .filter(({ quick }) => quick === true || values.quick !== true)
  .filter(({ name }) => wanted === undefined || wanted.some((each) => name.toLowerCase().includes(each)))

if (values.list) console.log(cases.map(({ name }) => name).join('\n'))
else await runAll()

async function runAll() {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-matrix-'))
  const results = new Map()
  try {
    const tarball = values.tarball === undefined ? (await pack(root, folder)).tarball : path.resolve(values.tarball)
    for (const each of cases) {
      const startMs = performance.now()
      const result = await tryCase(each, { tarball, folder })
      results.set(each.name, result)
      report(each, result, performance.now() - startMs)
      // After each case, so that a run that is cut short leaves what it has found.
      if (!values.quick) await writeTable(path.join(root, 'docs/bundlers.md'), results)
    }
  } finally {
    await closeBrowser()
    if (values.keep) console.log(`kept: ${folder}`)
    else await rm(folder, { recursive: true, force: true })
  }
  const count = (state) => [...results.values()].filter((result) => result.state === state).length
  console.log(`matrix: ${count('works')} work, ${count('fails')} fail, ${count('not tried')} not tried`)
  process.exitCode = count('fails') > 0 ? 1 : 0
}

function report({ name }, { state, text }, ms) {
  const mark = { works: '✓', fails: '✗', 'not tried': '-' }[state]
  console.log(`${mark} ${name} (${(ms / 1000).toFixed(1)} s): ${text.replaceAll('\n', '\n    ')}`)
}
