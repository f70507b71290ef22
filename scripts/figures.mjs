// Prints how large the parts of the repository are, and fails above the limits: those of eslint.config.js for sizes, no
// cycle, and a docstring for everything public. node scripts/figures.mjs [--json]     After `npm run docs`.
import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { ESLint } from 'eslint'
import { documented } from './figures/documented.mjs'
import { importCycles } from './figures/import-cycles.mjs'
import { sourceFacts } from './figures/source-facts.mjs'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const MODEL = 'docs/api/api.json'
/** Parts that are shown by their subfolders. */
const DIVIDED = new Set(['src'])
/** A rule of the linter, and what it limits. */
const LIMITS = {
  'max-lines': { read: ({ max }) => max, values: ({ lines }) => [{ value: lines, unit: 'lines' }] },
  'max-lines-per-function': {
    read: ({ max }) => max,
    values: ({ functions }) => functions.map(({ name, lines }) => ({ value: lines, unit: `lines in ${name}` })),
  },
  'max-params': {
    read: ({ max }) => max,
    values: ({ functions }) =>
      functions.map(({ name, parameters }) => ({ value: parameters, unit: `parameters of ${name}` })),
  },
}

const files = execFileSync('git', ['ls-files', '-co', '--exclude-standard', '*.ts', '*.tsx', '*.mjs'], { cwd: ROOT })
  .toString()
  .split('\n')
  .filter((file) => file !== '' && !file.endsWith('.d.ts') && existsSync(path.join(ROOT, file)))
const facts = files.map((file) => sourceFacts(ROOT, file))
const cycles = importCycles(facts)
const reference = documented(await modelOfReference())
const wrong = [
  ...(await aboveLimits()),
  ...cycles.map((group) => `cycle: ${group.join(' ↔ ')}`),
  ...reference.missing.map((name) => `no docstring: ${name}`),
]
const figures = { parts: partFigures(), ...wholeFigures() }

if (process.argv.includes('--json')) console.log(JSON.stringify({ ...figures, wrong }, null, 2))
else print()
process.exitCode = wrong.length === 0 ? 0 : 1

/** What is larger than the linter allows in its file. */
async function aboveLimits() {
  const linter = new ESLint({ cwd: ROOT })
  const found = []
  for (const each of facts) {
    const { rules = {} } = (await linter.calculateConfigForFile(path.join(ROOT, each.file))) ?? {}
    for (const [rule, { read, values }] of Object.entries(LIMITS)) {
      const [severity = 0, options] = rules[rule] ?? []
      if (severity === 0 || each.exceptions.includes(rule)) continue
      for (const { value, unit } of values(each))
        if (value > read(options)) found.push(`${each.file}: ${value} ${unit}, more than the ${read(options)} allowed`)
    }
  }
  return found
}

function partOf(file) {
  const [top, next, deeper] = file.split('/')
  if (next === undefined) return '.'
  return DIVIDED.has(top) && deeper !== undefined ? `${top}/${next}` : top
}

function partFigures() {
  const parts = Map.groupBy?.(facts, ({ file }) => partOf(file)) ?? grouped(facts)
  return Object.fromEntries(
    [...parts].sort().map(([part, within]) => {
      const functions = within.flatMap((each) => each.functions)
      return [
        part,
        {
          files: within.length,
          lines: sum(within, ({ lines }) => lines),
          longestFile: most(within, ({ lines }) => lines),
          longestFunction: most(functions, ({ lines }) => lines),
          mostParameters: most(functions, ({ parameters }) => parameters),
          longestLine: most(within, ({ longestLine }) => longestLine),
        },
      ]
    }),
  )
}

/** `Map.groupBy`, for Node 20. */
function grouped(all) {
  const parts = new Map()
  for (const each of all) parts.set(partOf(each.file), [...(parts.get(partOf(each.file)) ?? []), each])
  return parts
}

function wholeFigures() {
  const { members, parameters, missing, withExample, withoutExample } = reference
  return {
    cycles: cycles.length,
    sizeExceptions: sum(facts, ({ exceptions }) => exceptions.filter((rule) => rule in LIMITS).length),
    documentedPercent: (100 * (members + parameters - missing.length)) / (members + parameters),
    ...{ members, parameters, withExample, withoutExample: withoutExample.length },
    testDeclarations: sum(facts, ({ tests }) => tests),
    distBytes: sizesOf('dist', /\.js$/),
    typeBytes: sizesOf('dist', /\.d\.ts$/),
  }
}

/** The model that `npm run docs` leaves; made where it is missing, or older than the source. */
async function modelOfReference() {
  const file = path.join(ROOT, MODEL)
  const newest = most(files, (each) => (each.startsWith('src/') ? statSync(path.join(ROOT, each)).mtimeMs : 0))
  if (!existsSync(file) || statSync(file).mtimeMs < newest) {
    const { Application } = await import('typedoc')
    const app = await Application.bootstrapWithPlugins({ options: ROOT, logLevel: 'Error' })
    const project = await app.convert()
    await app.generateJson(project, file)
  }
  return file
}

function sizesOf(folder, names) {
  if (!existsSync(path.join(ROOT, folder))) return { files: 0, bytes: 0, gzipped: 0 }
  const found = readdirSync(path.join(ROOT, folder)).filter((name) => names.test(name))
  const paths = found.map((name) => path.join(ROOT, folder, name))
  return {
    files: found.length,
    bytes: sum(paths, (file) => statSync(file).size),
    gzipped: sum(paths, (file) => gzipSync(readFileSync(file)).length),
  }
}

function print() {
  console.table(figures.parts)
  const { parts: _, distBytes, typeBytes, documentedPercent, ...rest } = figures
  const size = ({ files: count, bytes, gzipped }) =>
    `${count} files, ${Math.round(bytes / 1000)} kB, ${Math.round(gzipped / 1000)} kB gzipped`
  console.table({ documented: `${documentedPercent.toFixed(1)} %`, ...rest })
  console.log(`dist: scripts ${size(distBytes)}; types ${size(typeBytes)}`)
  for (const each of wrong) console.error(`✗ ${each}`)
}

function sum(all, value) {
  return all.reduce((total, each) => total + value(each), 0)
}

function most(all, value) {
  return all.reduce((largest, each) => Math.max(largest, value(each)), 0)
}
