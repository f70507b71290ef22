import { execFile } from 'node:child_process'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Inside the package, where `heddle` means the package itself. */
const FOLDER = path.join(ROOT, 'build', 'documentation')
const FILES = [
  'README.md',
  'docs/api.md',
  'docs/layers.md',
  'docs/analysis.md',
  'docs/models.md',
  'docs/training.md',
  'docs/step-by-step-learning.md',
]
const LINKING = (await readdir(path.join(ROOT, 'docs')))
  .filter((name) => name.endsWith('.md'))
  .map((name) => `docs/${name}`)
/** Its blocks are quoted from the source files that it names. */
const QUOTING = 'docs/adding-an-operation.md'

interface Example {
  readonly file: string
  readonly line: number
  readonly source: string
}

/** The blocks of a Markdown file that are marked as `js`. */
async function examples(file: string): Promise<Example[]> {
  const text = await readFile(path.join(ROOT, file), 'utf8')
  return [...text.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map((match) => ({
    file,
    line: text.slice(0, match.index).split('\n').length,
    source: match[1] ?? '',
  }))
}

/** Anchors as GitHub makes them of headings. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map((match) =>
    (match[1] ?? '')
      .toLowerCase()
      .replaceAll(/[^\p{Letter}\p{Number} _-]/gu, '')
      .replaceAll(' ', '-'),
  )
}

const found = (await Promise.all(FILES.map(examples))).flat()

beforeAll(() => mkdir(FOLDER, { recursive: true }))
afterAll(() => rm(FOLDER, { recursive: true, force: true }))

describe('examples of the documentation', () => {
  it('are there', () => {
    for (const file of FILES) expect(found.filter((example) => example.file === file).length).toBeGreaterThan(0)
  })

  // A block that trains computes for some seconds, and waits for others on a busy machine.
  it.each(found)('run: $file, line $line', { timeout: 65_000 }, async ({ file, line, source }) => {
    const target = path.join(FOLDER, `${file.replaceAll(/\W/g, '-')}-${line}.mjs`)
    await writeFile(target, source)
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [target], { timeout: 60_000 })
    expect(stderr).toBe('')
    expect(stdout).not.toBe('')
  })

  it('link only to files and headings that exist', async () => {
    for (const file of ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'tests/findings.md', ...LINKING]) {
      const text = await readFile(path.join(ROOT, file), 'utf8')
      for (const [, target = '', anchor] of text.matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)) {
        const linked = await readFile(
          target === '' ? path.join(ROOT, file) : path.resolve(ROOT, path.dirname(file), target),
          'utf8',
        )
        if (anchor !== undefined) expect(anchorsOf(linked), `${file}: ${target}`).toContain(anchor)
      }
    }
  })

  it('quote the source as it is', async () => {
    const text = await readFile(path.join(ROOT, QUOTING), 'utf8')
    const blocks = [...text.matchAll(/^```ts\n([\s\S]*?)\n```$/gm)]
    expect(blocks.length).toBeGreaterThan(15)
    for (const { 1: quoted = '', index } of blocks) {
      const [, file = ''] = [...text.slice(0, index).matchAll(/^`([^`]+)`:$/gm)].at(-1) ?? []
      expect(await readFile(path.join(ROOT, file), 'utf8'), file).toContain(quoted)
    }
  })
})
