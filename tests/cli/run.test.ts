import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { RunReport } from '../../src/cli/run/run-report.ts'
import { heddle } from './heddle.ts'

/** 1500 words, of which each round of six has two that are the same and a number of its own. */
const TEXT = Array.from({ length: 250 }, (_, round) => `The whale, the Sea: ${round}, and`).join('\n')

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-run-'))
  await writeFile(path.join(folder, 'text.txt'), TEXT)
})
afterAll(() => rm(folder, { recursive: true }))

async function run(name: string, ...args: string[]): Promise<RunReport> {
  const { status, out, err } = await heddle(['run', '--text', 'text.txt', '--json', '--out', name, ...args], {
    cwd: folder,
  })
  expect(err).toContain('Against a plain word count')
  expect(status).toBe(0)
  return JSON.parse(out) as RunReport
}

describe('heddle run', () => {
  it('finds every word where a plain count does, and writes its report', async () => {
    const report = await run('all', '--tokens', 'all')
    expect(report.text).toEqual({ name: 'text.txt', tokens: 1500, distinctWords: 254 })
    expect(report.check.checks.map(({ passed }) => passed)).toEqual([true, true, true])
    const whale = report.check.words.find(({ word }) => word === 'whale')
    expect(whale?.count).toBe(250)
    expect(whale?.entropy).toBeCloseTo(Math.log(250), 4)
    expect(report.check.words.find(({ word }) => word === 'the')?.count).toBe(500)
    expect(await readdir(path.join(folder, 'all'))).toEqual([
      'run-entropy.svg',
      // no plots against n: the text has two lengths
      'run.html',
      'run.json',
    ])
    expect(JSON.parse(await readFile(path.join(folder, 'all', 'run.json'), 'utf8'))).toEqual(report)
  })

  it('measures both modes, with bytes as planned', async () => {
    const { growth, main } = await run('growth')
    expect(growth.measurements.map(({ mode, tokens }) => `${mode} ${tokens}`)).toEqual([
      'chunked 1024',
      'standard 1024',
      'chunked 1500',
      'standard 1500',
    ])
    for (const { peakBytes, plannedBytes, elapsedMs, tokens, tokensPerSecond } of [...growth.measurements, main]) {
      expect(peakBytes).toBeLessThanOrEqual(plannedBytes)
      expect(tokensPerSecond).toBeCloseTo((tokens / elapsedMs) * 1000, 6)
    }
    expect(
      growth.measurements.find(({ mode, tokens }) => mode === 'standard' && tokens === 1500)?.peakBytes,
    ).toBeGreaterThan(1500 * 1500 * 4)
    expect(main.plannedBytes).toBeLessThan(1500 * 1500 * 4)
  })

  it('has one output hash for one worker, all workers, none, and a chunk size of 7', async () => {
    const reports = [
      await run('w1', '--workers', '1'),
      await run('w2', '--workers', '2'),
      await run('w0', '--workers', '0'),
      await run('c7', '--chunk-size', '7'),
    ]
    expect(reports[3]?.chunkRows).toBe(7)
    expect(reports[0]?.outputHash).toMatch(/^sha256:[0-9a-f]{64}$/)
    for (const { outputHash } of reports) expect(outputHash).toBe(reports[0]?.outputHash)
    const fewer = await run('fewer', '--tokens', '1,499')
    expect(fewer.text.tokens).toBe(1499)
    expect(fewer.outputHash).not.toBe(reports[0]?.outputHash)
  })

  it('writes a page with plots that have axes, units and a legend, and that fetches nothing', async () => {
    const text = await readFile(path.join(folder, 'text.txt'), 'utf8')
    await writeFile(path.join(folder, 'long.txt'), `${text} ${text}`)
    await run('page', '--text', 'long.txt')
    const page = await readFile(path.join(folder, 'page', 'run.html'), 'utf8')
    expect(page.match(/<svg /g)).toHaveLength(2 * 3) // for a desk and for a phone
    for (const text of [
      'sequence length n (tokens), log scale',
      'time, log scale',
      'peak memory, log scale',
      'row entropy (nats)',
      'chunked mode',
      'standard mode',
      'prefers-color-scheme: dark',
    ]) {
      expect(page).toContain(text)
    }
    expect(page).not.toMatch(/(src|href)=/)
    expect(page).not.toMatch(/NaN|undefined/)
  })

  it('refuses a text of one word', async () => {
    await writeFile(path.join(folder, 'one.txt'), 'whale')
    const { status, err } = await heddle(['run', '--text', 'one.txt'], { cwd: folder })
    expect(status).toBe(2)
    expect(err).toContain('expected a text of two words or more, got 1')
  })

  it('refuses a file that is not text', async () => {
    await writeFile(path.join(folder, 'photo.txt'), Buffer.from([0xff, 0xd8, 0xff, 0xe0, 0, 16, 74, 70]))
    const { status, err } = await heddle(['run', '--text', 'photo.txt'], { cwd: folder })
    expect(status).toBe(2)
    expect(err).toContain('--text: expected text in UTF-8')
  })

  it('finds the words of a text without spaces, and says that there are fewer than asked for', async () => {
    await writeFile(
      path.join(folder, 'chinese.txt'),
      '我们今天去学校学习。学校里有很多学生，学生们都在学习。'.repeat(3),
    )
    const args = ['run', '--text', 'chinese.txt', '--tokens', '1000', '--json', '--out', 'chinese']
    const { status, out, err } = await heddle(args, { cwd: folder })
    expect(status).toBe(0)
    const report = JSON.parse(out) as RunReport
    expect(report.check.words.map(({ word }) => word)).toContain('学校')
    expect(err).toContain(`Note: the text has ${report.text.tokens} words; --tokens asked for 1,000`)
  })

  it('ends with status 1 where one of its checks fails, and says which', async () => {
    // Loaded into the command's process before it: another logarithm than the one that the entropies are of.
    const spoil = `const { log } = Math; Math.log = (x) => log(x) + 0.01`
    vi.stubEnv('NODE_OPTIONS', `--import=data:text/javascript,${encodeURIComponent(spoil)}`)
    const args = ['run', '--text', 'text.txt', '--tokens', '300', '--workers', '0', '--json', '--out', 'spoiled']
    const { status, out, err } = await heddle(args, { cwd: folder }).finally(() => vi.unstubAllEnvs())
    expect((JSON.parse(out) as RunReport).check.checks.map(({ passed }) => passed)).toEqual([false, true, true])
    expect(err).toContain('✗ FAILED row entropy = ln(count of the word)')
    expect(status).toBe(1)
  })

  it('ends with status 130 when it is interrupted, and writes no report', async () => {
    const words = Array.from({ length: 60_000 }, (_, index) => `w${index % 5000}`).join(' ')
    await writeFile(path.join(folder, 'long.txt'), words)
    const { status, err } = await heddle(['run', '--text', 'long.txt', '--tokens', 'all', '--out', 'none'], {
      cwd: folder,
      onStart: (child) => {
        // The plan is printed just before the long call.
        child.stdout?.on('data', (text: string) => text.includes('never made') && child.kill('SIGINT'))
      },
    })
    expect(err).toContain('heddle run: interrupted')
    expect(status).toBe(130)
    expect(await readdir(path.join(folder, 'none'))).toEqual([])
  })
})
