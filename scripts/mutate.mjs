// Puts small faults into a copy of the code, one at a time, and says which of them the tests notice:
// npm run mutate -- [--only TEXT]... [--part 1/3] [--minutes 8] [--json]. The faults, and the test files that must notice
// each, are in scripts/mutate/. After the given minutes it begins no further one.
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs, promisify, stripVTControlCharacters } from 'node:util'
import { checkMutations, MUTATIONS } from './mutate/mutations.mjs'

const root = path.resolve(fileURLToPath(import.meta.url), '../..')
const COPIED = [
  'assembly',
  'src',
  'workers',
  'tests',
  'bench',
  'scripts',
  'build',
  'dist',
  'asconfig.json',
  'eslint.config.js',
  'package.json',
  'tsconfig.json',
  'tsconfig.build.json',
  'vitest.config.ts',
]
/** Test files that hang do not hold up the others. */
const LIMIT_MS = 240_000

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [''] },
    part: { type: 'string', default: '1/1' },
    minutes: { type: 'string', default: 'Infinity' },
    json: { type: 'boolean', default: false },
  },
})
const endMs = Date.now() + Number(values.minutes) * 60_000
await checkMutations(root)
const [part, parts] = values.part.split('/').map(Number)
const named = MUTATIONS.filter(({ what }) => values.only.some((text) => what.includes(text)))
const chosen = named.filter((_, index) => index % parts === part - 1)
if (chosen.length === 0)
  throw new Error(`mutate: expected --only to be part of a fault's name, got ${JSON.stringify(values.only)}`)

/** what the tests that failed last said */
let lastOutput = ''
/** Faults that make a test wait in vain are caught too; without one, a busy machine must not count as that. */
const TEST_LIMIT_MS = 60_000
const copy = await mkdtemp(path.join(os.tmpdir(), 'heddle-mutants-'))
const run = promisify(execFile)
try {
  for (const name of COPIED)
    await cp(path.join(root, name), path.join(copy, name), { recursive: true, preserveTimestamps: true })
  await symlink(path.join(root, 'node_modules'), path.join(copy, 'node_modules'))
  if ((await build()) !== null || (await testsFail([...new Set(chosen.flatMap(({ tests }) => tests))])))
    throw new Error(`mutate: expected the tests to pass without a fault\n${lastOutput}`)
  const results = []
  for (const mutation of chosen) {
    if (Date.now() > endMs) {
      results.push({ what: mutation.what, file: mutation.file, result: 'not tried' })
      continue
    }
    const result = await judge(mutation)
    const by = result === 'caught' ? failedTest() : undefined
    results.push({ what: mutation.what, file: mutation.file, result, ...(by === undefined ? {} : { by }) })
    if (!values.json)
      console.log(`${result.padEnd(9)} ${mutation.what}  (${mutation.file}${by === undefined ? '' : `; by ${by}`})`)
  }
  report(results)
} finally {
  await rm(copy, { recursive: true, force: true })
}

/** `caught`, `survived`, or that it does not compile. */
async function judge({ file, from, to, tests }) {
  const place = path.join(copy, file)
  const original = await readFile(place, 'utf8')
  await writeFile(
    place,
    original.replace(from, () => to),
  )
  try {
    const error = await build()
    if (error !== null) return 'invalid'
    return (await testsFail(tests)) ? 'caught' : 'survived'
  } finally {
    await writeFile(place, original)
    // The kernels are built again where their source is newer.
    const now = new Date()
    await utimes(place, now, now)
  }
}

async function build() {
  return run(process.execPath, ['scripts/build.mjs', '--without-types'], { cwd: copy, timeout: LIMIT_MS }).then(
    () => null,
    (error) => error,
  )
}

async function testsFail(tests) {
  const vitest = path.join(root, 'node_modules/vitest/vitest.mjs')
  const limit = `--testTimeout=${TEST_LIMIT_MS}`
  return run(process.execPath, [vitest, 'run', '--project', 'node*', limit, '--bail', '1', ...tests], {
    cwd: copy,
    timeout: LIMIT_MS,
    maxBuffer: 2 ** 26,
  }).then(
    () => false,
    (error) => {
      lastOutput = `${error.stdout ?? ''}${error.stderr ?? ''}${error.killed === true ? '\n timed out in all' : ''}`
      return true
    },
  )
}

/** The name of the test that noticed, and whether it waited in vain. */
function failedTest() {
  const text = stripVTControlCharacters(lastOutput)
  const [, name = 'a file that does not run'] = /^ FAIL .*?tests\/(.+)$/m.exec(text) ?? []
  return /timed out in/.test(text) ? `${name}, which hangs` : name
}

function report(results) {
  const count = (wanted) => results.filter(({ result }) => result === wanted).length
  const tried = count('caught') + count('survived')
  if (values.json) console.log(JSON.stringify({ caught: count('caught'), tried, results }, null, 2))
  else
    console.log(
      `${count('caught')} of ${tried} faults caught${tried === 0 ? '' : ` (${Math.round((100 * count('caught')) / tried)} %)`}; ${count('invalid')} do not compile, ${count('not tried')} not tried`,
    )
  // A fault that does not compile says nothing about the tests.
  if (count('invalid') > 0 || count('survived') > 0) process.exitCode = 1
}
