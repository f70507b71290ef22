import { execFile } from 'node:child_process'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Inside the package, where `heddle` means the package itself. */
const FOLDER = path.join(ROOT, 'build', 'documentation')
const FILES = ['README.md', 'docs/api.md', 'docs/step-by-step-learning.md']

interface Example {
  readonly file: string
  readonly line: number
  readonly source: string
}

/** The blocks of a Markdown file that are marked as `js`. */
async function examples(file: string): Promise<Example[]> {
  const text = await readFile(path.join(ROOT, file), 'utf8')
  return [...text.matchAll(/^```js\n([\s\S]*?)^```$/gm)].map((match) => ({ file, line: text.slice(0, match.index).split('\n').length, source: match[1] ?? '' }))
}

const found = (await Promise.all(FILES.map(examples))).flat()

beforeAll(() => mkdir(FOLDER, { recursive: true }))
afterAll(() => rm(FOLDER, { recursive: true, force: true }))

describe('examples of the documentation', () => {
  it('are there', () => {
    for (const file of FILES) expect(found.filter((example) => example.file === file).length).toBeGreaterThan(0)
  })

  it.each(found)('run: $file, line $line', async ({ file, line, source }) => {
    const target = path.join(FOLDER, `${file.replaceAll(/\W/g, '-')}-${line}.mjs`)
    await writeFile(target, source)
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [target], { timeout: 15_000 })
    expect(stderr).toBe('')
    expect(stdout).not.toBe('')
  })

  it('link only to files that exist', async () => {
    for (const file of [...FILES, 'CONTRIBUTING.md', 'docs/design.md', 'CHANGELOG.md']) {
      const text = await readFile(path.join(ROOT, file), 'utf8')
      for (const [, target] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)) {
        await expect(readFile(path.resolve(ROOT, path.dirname(file), target ?? '')), `${file}: ${target}`).resolves.toBeInstanceOf(Buffer)
      }
    }
  })
})
