import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Inside the package, where `heddle` means the package itself. */
const FOLDER = path.join(ROOT, 'build', 'docstring-examples')

/** The code of an `@example`. Blocks marked `js` run; those marked `ts` need a server or a peer and only compile. */
interface Example {
  readonly name: string
  readonly language: string
  readonly code: string
  readonly file: string
}

/** What an example did: the lines that it printed, and how it failed. */
interface Run {
  readonly lines: readonly string[]
  readonly error: string | null
}

/** Imports each file in turn, and keeps what it prints. */
const RUNNER = `import { format } from 'node:util'
const runs = []
const print = console.log
for (const file of process.argv.slice(2)) {
  const lines = []
  console.log = (...values) => lines.push(format(...values))
  const error = await import(file).then(() => null, (error) => String(error?.stack ?? error))
  runs.push({ lines, error })
}
print(JSON.stringify(runs))
`

async function examplesOf(name: string): Promise<Example[]> {
  const text = await readFile(path.join(ROOT, 'src', name), 'utf8')
  return [...text.matchAll(/^ *\* @example\n *\* ```(\w+)\n([^]*?)^ *\* ```$/gm)].map((match, index) => ({
    name: `src/${name}:${text.slice(0, match.index).split('\n').length}`,
    language: match[1] ?? '',
    code: (match[2] ?? '').replaceAll(/^ *\* ?/gm, ''),
    file: path.join(FOLDER, `${name.replaceAll(/\W/g, '-')}-${index}.${match[1] === 'ts' ? 'mts' : 'mjs'}`),
  }))
}

/** What the comments behind calls of `console.log` say that they print; null for calls without one. */
function promised(code: string): (string | null)[] {
  return [...code.matchAll(/^console\.log\(.*?\)(?: \/\/ (.*))?$/gm)].map((match) => match[1] ?? null)
}

function compile(files: readonly string[]): string[] {
  const program = ts.createProgram({
    rootNames: files,
    options: {
      ...{ module: ts.ModuleKind.NodeNext, target: ts.ScriptTarget.ES2022, noEmit: true, skipLibCheck: true },
      ...{ allowJs: true, checkJs: true, strict: false, types: ['node'] },
    },
  })
  return ts.getPreEmitDiagnostics(program).map(({ file, start = 0, messageText }) => {
    const line = file === undefined ? 0 : file.getLineAndCharacterOfPosition(start).line + 1
    return `${path.basename(file?.fileName ?? '')}:${line} ${ts.flattenDiagnosticMessageText(messageText, ' ')}`
  })
}

const sources = (await readdir(path.join(ROOT, 'src'), { recursive: true })).filter((name) => name.endsWith('.ts'))
const examples = (await Promise.all(sources.sort().map(examplesOf))).flat()
const running = examples.filter(({ language }) => language === 'js')
let runs: readonly Run[] = []

beforeAll(async () => {
  await mkdir(FOLDER, { recursive: true })
  for (const { file, code } of examples) await writeFile(file, code)
  const runner = path.join(FOLDER, 'run.mjs')
  await writeFile(runner, RUNNER)
  const files = running.map(({ file }) => file)
  const { stdout } = await promisify(execFile)(process.execPath, [runner, ...files], { cwd: ROOT, timeout: 60_000 })
  runs = JSON.parse(stdout) as Run[]
}, 65_000)
afterAll(() => rm(FOLDER, { recursive: true, force: true }))

describe('examples in docstrings', () => {
  it('are marked js or ts', () => {
    expect(running.length).toBeGreaterThan(50)
    expect(new Set(examples.map(({ language }) => language))).toEqual(new Set(['js', 'ts']))
  })

  it.each(running.map(({ name, code }, index) => ({ name, code, index })))(
    'run, and print what they say: $name',
    ({ code, index }) => {
      const { lines, error } = runs[index]!
      expect(error).toBeNull()
      // A call in a loop prints more often than it is written.
      const expected = promised(code)
      if (expected.some((line) => line !== null))
        expect(lines.map((line, at) => expected[at] && line)).toEqual(expected)
    },
  )

  it('compile against the shipped types', { timeout: 60_000 }, () => {
    expect(compile(examples.map(({ file }) => file))).toEqual([])
  })
})
