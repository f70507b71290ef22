import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { prepareFolder, writeReport } from '../../src/cli/report/write-report.ts'
import { UsageError } from '../../src/cli/usage-error.ts'

const files = { data: { n: 1 }, html: '<p>', plots: { time: () => '<svg/>' } }
let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-report-'))
})
afterEach(() => rm(folder, { recursive: true }))

it('writes a report anew where one is', async () => {
  const out = path.join(folder, 'out')
  await writeReport(out, 'run', { ...files, html: 'longer than the other' })
  const { html } = await writeReport(out, 'run', files)
  expect(await readFile(html, 'utf8')).toBe('<p>')
  expect((await readdir(out)).sort()).toEqual(['run-time.svg', 'run.html', 'run.json'])
})

it('follows no symbolic link, neither a folder nor a file', async () => {
  const [target, link] = [path.join(folder, 'target'), path.join(folder, 'link')]
  await mkdir(target)
  await symlink(target, link)
  await expect(prepareFolder(link)).rejects.toThrow(UsageError)
  await expect(writeReport(link, 'run', files)).rejects.toThrow('a symbolic link')
  expect(await readdir(target)).toEqual([])
  const [out, other] = [path.join(folder, 'out'), path.join(folder, 'other')]
  await mkdir(out)
  await writeFile(other, 'mine')
  await symlink(other, path.join(out, 'run.html'))
  await expect(writeReport(out, 'run', files)).rejects.toThrow('a symbolic link')
  expect(await readFile(other, 'utf8')).toBe('mine')
})
