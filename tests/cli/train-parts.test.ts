import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { TrainLog, type LogEntry } from '../../src/cli/train/train-log.ts'
import { comparison, trainPage, trainPlots, type TrainReport } from '../../src/cli/train/train-report.ts'
import { readSettings } from '../../src/cli/train/train-settings.ts'
import { UsageError } from '../../src/cli/usage-error.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-train-parts-'))
})
afterAll(() => rm(folder, { recursive: true }))

const entry = (step: number, more: Partial<LogEntry> = {}): LogEntry => ({
  step,
  loss: 3 / step,
  learningRate: 1e-3,
  gradientNorm: 1,
  tokensPerSecond: 1000,
  elapsedMs: 10,
  ...more,
})

describe('settings', () => {
  it('are the task’s, and each option changes one', () => {
    const names = readSettings({})
    expect(names.task).toBe('names')
    expect(readSettings({ layers: '5', 'learning-rate': '0.5', dropout: '0' })).toEqual({
      ...names,
      layers: 5,
      learningRate: 0.5,
      dropout: 0,
    })
    expect(readSettings({ file: 'book.txt', tokens: 'words' })).toMatchObject({
      task: 'text',
      file: 'book.txt',
      tokens: 'words',
      length: 2048,
    })
    expect(readSettings({ task: 'text' }).length).toBeGreaterThanOrEqual(2048)
    expect(readSettings({ steps: '7' }).evaluateEvery).toBe(7)
  })

  it.each([
    [{ task: 'sort' }, "--task: expected one of names, text, copy, reverse, induction, got 'sort'"],
    [{ task: 'copy', file: 'x' }, '--file: expected it with --task text, got --task copy'],
    [{ tokens: 'bytes' }, "--tokens: expected characters or words, got 'bytes'"],
    [{ 'model-size': '63' }, '--model-size: expected a multiple of the 4 heads, got 63'],
    [{ dropout: '1' }, "--dropout: expected a number from 0, below 1, got '1'"],
    [{ 'learning-rate': 'fast' }, "--learning-rate: expected a number above 0, got 'fast'"],
    [{ steps: '0' }, "--steps: expected an integer of 1 or more, got '0'"],
  ])('refuse %j', (values, message) => {
    expect(() => readSettings(values)).toThrow(UsageError)
    expect(() => readSettings(values)).toThrow(message)
  })
})

describe('the log', () => {
  it('is a line of JSON per step, written as it comes', async () => {
    const file = path.join(folder, 'fresh.jsonl')
    await writeFile(file, 'of an earlier run\n')
    const log = await TrainLog.open(file, 0)
    log.add(entry(1))
    await log.flush()
    log.add(entry(2, { heldOutLoss: 2.5 }))
    await log.flush()
    await log.flush()
    expect(
      (await readFile(file, 'utf8'))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as LogEntry),
    ).toEqual([entry(1), entry(2, { heldOutLoss: 2.5 })])
    expect(log.entries).toHaveLength(2)
  })

  it('goes on where a resumed run does', async () => {
    const file = path.join(folder, 'resumed.jsonl')
    await writeFile(file, `${[1, 2, 3, 4].map((step) => JSON.stringify(entry(step))).join('\n')}\n{"step":5,"lo`)
    const log = await TrainLog.open(file, 3)
    log.add(entry(4, { loss: 9 }))
    await log.flush()
    expect(
      (await readFile(file, 'utf8'))
        .trim()
        .split('\n')
        .map((line) => (JSON.parse(line) as LogEntry).step),
    ).toEqual([1, 2, 3, 4])
    expect(log.entries.at(-1)?.loss).toBe(9)
    // a log that is gone only means shorter curves
    expect((await TrainLog.open(path.join(folder, 'gone.jsonl'), 3)).entries).toEqual([])
  })
})

describe('the report', () => {
  const report: TrainReport = {
    format: 'heddle-train/1',
    date: '2026-11-27T00:00:00.000Z',
    machine: {
      cpu: 'a processor',
      cores: 2,
      memoryBytes: 1,
      platform: 'p',
      versions: { heddle: '0', node: '20', v8: '1' },
    },
    settings: readSettings({}),
    facts: ['8,422 names'],
    parameters: 151_872,
    baselines: { chance: 3.332, unigram: 2.846, bigram: 2.431 },
    best: { loss: 2.01, step: 900 },
    findings: [{ name: 'held-out loss below the bigram baseline', passed: true, detail: '2.010 against 2.431' }],
    note: 'It wrote:',
    samples: ['<b>anna</b>', 'orlene'],
    elapsedMs: 10_000,
    log: Array.from({ length: 1000 }, (_, index) =>
      entry(index + 1, (index + 1) % 100 === 0 ? { heldOutLoss: 2.5 } : {}),
    ),
  }

  it('shows curves beside the baselines, and escapes what the model writes', () => {
    const page = trainPage(report)
    expect(page.match(/<svg /g)).toHaveLength(4) // for a desk and for a phone
    for (const text of [
      'cross-entropy (nats per token)',
      '>training<',
      '>held out<',
      '>bigram<',
      '>unigram<',
      '&lt;b&gt;anna&lt;/b&gt;',
      '151,872',
      '✓ passed',
    ])
      expect(page).toContain(text)
    expect(page).not.toMatch(/NaN|undefined|<b>/)
    expect(trainPlots({ ...report, settings: readSettings({ task: 'copy' }) })['loss']!({})).toContain('>chance<')
  })

  it('compares in nats and perplexity', () => {
    expect(comparison(report)).toEqual([
      ['chance', '3.3320', '28'],
      ['unigram', '2.8460', '17.2'],
      ['bigram', '2.4310', '11.4'],
      ['this model, step 900', '2.0100', '7.46'],
    ])
  })

  it('can be drawn after a single step', () => {
    expect(trainPage({ ...report, log: [entry(1, { heldOutLoss: 3 })] })).not.toMatch(/NaN|undefined/)
  })
})
