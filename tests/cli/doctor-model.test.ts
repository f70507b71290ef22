import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { folderOf } from '../models/support/hub-folders.ts'
import { heddle } from './heddle.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-doctor-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('heddle doctor --model', () => {
  it("says what was read, and that another implementation's numbers are the same", async () => {
    const { status, out, err } = await heddle([
      'doctor',
      '--model',
      folderOf('llama'),
      '--expect',
      `${folderOf('llama')}/expected.json`,
      '--json',
    ])
    expect(status).toBe(0)
    const report = JSON.parse(out) as {
      family: string
      types: string[]
      cases: { hiddenError: number; logitError: number; passed: boolean }[]
    }
    expect([report.family, report.types]).toEqual(['llama', ['BF16']])
    expect(report.cases).toHaveLength(3)
    for (const { hiddenError, logitError, passed } of report.cases) {
      expect(hiddenError).toBeLessThan(1e-5)
      expect(logitError).toBeLessThan(1e-5)
      expect(passed).toBe(true)
    }
    expect(err).toContain('case 2, 23 tokens: hidden rows within')
  })

  it('fails where they differ, or are of another shape', async () => {
    const expected = JSON.parse(await readFile(`${folderOf('bert')}/expected.json`, 'utf8')) as {
      cases: { lastHiddenState: number[][] }[]
    }
    expected.cases[1]!.lastHiddenState[3]![2]! += 0.1
    expected.cases[2]!.lastHiddenState.pop()
    const file = path.join(folder, 'expected.json')
    await writeFile(file, JSON.stringify(expected))
    const { status, out } = await heddle(['doctor', '--model', folderOf('bert'), '--expect', file])
    expect(status).toBe(1)
    expect(out.match(/FAILED|✓/g)).toEqual(['✓', 'FAILED', 'FAILED'])
  })

  it('refuses what it cannot use', async () => {
    expect(await heddle(['doctor', '--expect', 'x.json'])).toMatchObject({ status: 2 })
    expect(
      (await heddle(['doctor', '--model', folderOf('bert'), '--expect', path.join(folder, 'none.json')])).err,
    ).toContain('--expect: expected a JSON file')
    const { status, err } = await heddle(['doctor', '--model', folder])
    expect([status, err]).toEqual([1, expect.stringContaining('FormatError: loadModel: expected config.json')])
  })
})
