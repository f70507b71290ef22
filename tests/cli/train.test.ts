import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/command.ts'
import { dispatch } from '../../src/cli/dispatch.ts'
import { Terminal } from '../../src/cli/terminal/terminal.ts'
import { trainCommand } from '../../src/cli/train/train-command.ts'
import type { LogEntry } from '../../src/cli/train/train-log.ts'
import type { TrainReport } from '../../src/cli/train/train-report.ts'
import { readSafetensors } from '../../src/nn/state/safetensors.ts'
import { readCheckpoint, writeCheckpoint } from '../../src/train/checkpoint.ts'
import { heddle } from './heddle.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-train-'))
})
afterAll(() => rm(folder, { recursive: true }))

interface Said {
  readonly status: number
  readonly out: string
  readonly err: string
}

/** `heddle train` in this process. @param stopAt aborts, as Ctrl-C does, once that was said */
async function trainHere(
  args: readonly string[],
  { stopAt, isTTY = false }: { readonly stopAt?: string; readonly isTTY?: boolean } = {},
): Promise<Said> {
  const controller = new AbortController()
  const said = { out: '', err: '' }
  const stream = (name: 'out' | 'err') => ({
    ...{ isTTY, columns: 100 },
    write: (text: string) => {
      said[name] += text
      if (stopAt !== undefined && text.includes(stopAt)) controller.abort(new Error('interrupted'))
    },
  })
  const terminal = new Terminal(stream('out'), stream('err'), { NO_COLOR: '1' })
  const status = await dispatch(['train', ...args], {
    commands: [trainCommand],
    version: '0',
    terminal,
    signal: controller.signal,
  })
  return { status, ...said }
}

/** Four symbols are copied without a mistake after some 60 steps of 10 ms. */
const COPY = [
  '--task',
  'copy',
  '--length',
  '8',
  '--symbols',
  '4',
  '--layers',
  '2',
  '--heads',
  '2',
  '--model-size',
  '32',
  '--batch',
  '64',
  '--learning-rate',
  '0.01',
  '--workers',
  '0',
]
const FILES = ['-checkpoint.safetensors', '-loss.svg', '-norm.svg', '.html', '.json', '.jsonl', '.safetensors'].map(
  (ending) => `train-copy${ending}`,
)

const place = (...parts: string[]): string => path.join(folder, ...parts)
const logOf = async (out: string): Promise<LogEntry[]> =>
  (await readFile(path.join(out, 'train-copy.jsonl'), 'utf8'))
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as LogEntry)

describe('heddle train', () => {
  it('learns a task, and leaves checkpoint, model, log and report', async () => {
    const out = place('whole')
    const {
      status,
      out: json,
      err,
    } = await trainHere([...COPY, '--steps', '70', '--evaluate-every', '20', '--json', '--out', out])
    expect(status).toBe(EXIT.ok)
    expect((await readdir(out)).sort()).toEqual(FILES)

    const report = JSON.parse(json) as TrainReport
    expect(JSON.parse(await readFile(path.join(out, 'train-copy.json'), 'utf8'))).toEqual(report)
    expect(report).toMatchObject({
      format: 'heddle-train/1',
      findings: [{ passed: true }],
      baselines: { chance: Math.log(4) },
    })
    expect(report.best.loss).toBeLessThan(0.1)
    expect(report.log.map(({ step }) => step)).toEqual(Array.from({ length: 70 }, (_, index) => index + 1))
    expect(report.log.filter(({ heldOutLoss }) => heldOutLoss !== undefined).map(({ step }) => step)).toEqual([
      20, 40, 60, 70,
    ])
    expect(await logOf(out)).toEqual(report.log)

    expect(err).toMatch(
      /step +20 {2}loss \S+ {2}rate \S+ {2}norm \S+ {2}\S+ tokens\/s {2}held out \S+ \(chance 1\.386, bigram 1\.386\), \S+ m?s left\n/,
    )
    expect(err).toContain('✓ at least 99 % of held-out sequences exact')
    const { metadata } = await readSafetensors(await readFile(path.join(out, 'train-copy.safetensors')))
    expect(JSON.parse(metadata['model'] ?? '')).toMatchObject({ vocabulary: 5, layers: 2, modelDim: 32 })
    expect(
      (await readCheckpoint(await readFile(path.join(out, 'train-copy-checkpoint.safetensors')))).progress.step,
    ).toBe(70)
  })

  it('shows loss, rate, norm, speed and time left on a terminal, in one line that is rewritten', async () => {
    const { err } = await trainHere([...COPY, '--steps', '3', '--out', place('terminal')], { isTTY: true })
    const lines = err.split('\r\u001b[2K')
    expect(lines[1]).toMatch(/^loss \S+ {2}rate \S+ {2}norm \S+ {2}\S+ tokens\/s [█▏▎▍▌▋▊▉·]+ {2}33 % {2}.*s left$/u)
  })

  it('fails where the model does not do what its task asks for', async () => {
    const { status, out } = await trainHere([...COPY, '--steps', '1', '--out', place('poor')])
    expect(status).toBe(EXIT.failedCheck)
    expect(out).toContain('✗ at least 99 % of held-out sequences exact')
  })

  it('saves at an interruption, says how to go on, and then has the bits of a run that was never interrupted', async () => {
    const settings = [...COPY, '--steps', '20', '--evaluate-every', '6']
    const [whole, cut] = [place('bits whole'), place('bits cut')]
    await trainHere([...settings, '--out', whole])
    // Behind step 10, which is not evaluated: the checkpoint of step 6 is there already.
    const interrupted = await trainHere([...settings, '--out', cut], { stopAt: ' 50 %', isTTY: true })
    expect(interrupted.status).toBe(EXIT.interrupted)
    expect(interrupted.err).toContain(
      `Saved after step 10. To go on: heddle train --resume '${path.join(cut, 'train-copy-checkpoint.safetensors')}'\n`,
    )
    expect(await readdir(cut)).not.toContain('train-copy.safetensors')

    const checkpoint = path.join(cut, 'train-copy-checkpoint.safetensors')
    const again = await trainHere(['--resume', checkpoint, '--workers', '0'], { stopAt: 'Goes on after step 10' })
    expect(again.err).toContain('Stopped before another step: the checkpoint is as it was.')
    const resumed = await trainHere(['--resume', checkpoint, '--workers', '0'])
    expect(resumed.out).toContain('Goes on after step 10\n')
    for (const name of ['train-copy.safetensors', 'train-copy-checkpoint.safetensors']) {
      expect((await readFile(path.join(cut, name))).equals(await readFile(path.join(whole, name))), name).toBe(true)
    }
    const figures = (entries: LogEntry[]) =>
      entries.map(({ step, loss, gradientNorm, heldOutLoss }) => [step, loss, gradientNorm, heldOutLoss])
    expect(figures(await logOf(cut))).toEqual(figures(await logOf(whole)))
  })

  it('hears Ctrl-C', async () => {
    const out = place('signal')
    const args = [...COPY, '--steps', '1000000', '--evaluate-every', '5', '--out', out]
    const { status, err } = await heddle(['train', ...args], {
      onStart: (child) =>
        child.stdout?.on('data', (text: string) => {
          if (text.includes('step      5')) child.kill('SIGINT')
        }),
    })
    expect(status).toBe(EXIT.interrupted)
    const step = Number(
      /Saved after step ([\d,]+)\. To go on: heddle train --resume /.exec(err)?.[1]?.replaceAll(',', ''),
    )
    expect(step).toBeGreaterThanOrEqual(5)
    expect(await logOf(out)).toHaveLength(step)
    expect(
      (await readCheckpoint(await readFile(path.join(out, 'train-copy-checkpoint.safetensors')))).progress.step,
    ).toBe(step)
    expect(err).toContain('heddle train: interrupted')
  })
})

describe('what does not fit', () => {
  const write = async (name: string, content: string | Uint8Array): Promise<string> => {
    await writeFile(place(name), content)
    return place(name)
  }

  it.each<[string, () => Promise<string[]> | string[], string]>([
    ['a file that is not there', () => ['--file', place('none.txt')], 'expected a file that can be read, got'],
    ['a folder as the file', () => ['--file', folder], '(EISDIR)'],
    [
      'an empty file',
      async () => ['--file', await write('empty.txt', '')],
      '--file: expected a text, got an empty file',
    ],
    [
      'bytes that are no UTF-8',
      async () => ['--file', await write('latin.txt', Uint8Array.of(0x4d, 0xe9, 0x6c))],
      '--file: expected text in UTF-8, got a binary file or another encoding',
    ],
    [
      'a binary file',
      async () => ['--file', await write('zero.txt', 'a\0b')],
      '--file: expected text in UTF-8, got a binary file',
    ],
    [
      'a text that is too short',
      async () => ['--file', await write('short.txt', 'call me ishmael '.repeat(40))],
      'expected a text of 20,490 characters or more for windows of 2,048 (a tenth is held out), got 640; --length makes windows shorter',
    ],
    ['an odd length', () => ['--task', 'copy', '--length', '9'], 'option length: expected an even number, got 9'],
    [
      'too few symbols',
      () => ['--task', 'induction', '--symbols', '2'],
      'option shortest: expected an integer from 1 to 2, got number 3',
    ],
    [
      'a learning rate that is no number',
      () => ['--learning-rate', 'NaN'],
      "--learning-rate: expected a number above 0, got 'NaN'",
    ],
    [
      'options beside a checkpoint',
      () => ['--resume', 'x', '--steps', '5', '--seed', '1'],
      '--resume: the checkpoint decides about --steps, --seed; leave them out',
    ],
    [
      'a checkpoint that is not there',
      () => ['--resume', place('none.safetensors')],
      '--resume: expected a checkpoint that can be read, got',
    ],
    [
      'a file that is no checkpoint',
      async () => ['--resume', await write('no.safetensors', 'call me ishmael')],
      '--resume: expected a whole checkpoint, got',
    ],
    [
      'an option that is misspelt',
      () => ['--learningrate', '1'],
      "unknown option '--learningrate'; did you mean '--learning-rate'?",
    ],
  ])('%s', async (_, args, message) => {
    const { status, err, out } = await trainHere([
      ...(await args()),
      '--workers',
      '0',
      ...(String(args).includes('--resume') ? [] : ['--out', place('refused')]),
    ])
    expect(err).toContain(message)
    expect([status, out]).toEqual([EXIT.usage, ''])
  })

  describe('of a checkpoint', () => {
    const saved = (): Promise<Buffer> => readFile(place('whole', 'train-copy-checkpoint.safetensors'))
    const resume = async (name: string, bytes: Uint8Array): Promise<Said> =>
      trainHere(['--resume', await write(name, bytes), '--workers', '0'])
    /** The checkpoint with other strings, as another version or another hand would write them. */
    const rewritten = async (
      change: (metadata: Record<string, string>) => Record<string, string>,
    ): Promise<Uint8Array> => {
      const checkpoint = await readCheckpoint(await saved())
      return writeCheckpoint({ ...checkpoint, metadata: change({ ...checkpoint.metadata }) })
    }
    const withSettings = (change: object): Promise<Uint8Array> =>
      rewritten((metadata) => ({
        ...metadata,
        settings: JSON.stringify({ ...(JSON.parse(metadata['settings'] ?? '') as object), ...change }),
      }))

    it('that is truncated', async () => {
      for (const share of [0.01, 0.5, 0.999]) {
        const bytes = await saved()
        const { status, err } = await resume('cut.safetensors', bytes.subarray(0, Math.floor(bytes.length * share)))
        expect(err).toContain('--resume: expected a whole checkpoint, got')
        expect(status).toBe(EXIT.usage)
      }
    })

    it('of another program, or of another version', async () => {
      const foreign = await resume('foreign.safetensors', await rewritten(() => ({})))
      expect(foreign).toMatchObject({
        status: EXIT.usage,
        err: expect.stringContaining(
          "--resume: expected a checkpoint of 'heddle train', got one of another program",
        ) as string,
      })
      const older = await resume('older.safetensors', await withSettings({ layers: undefined, blocks: 2 }))
      expect(older).toMatchObject({
        status: EXIT.usage,
        err: expect.stringContaining(
          '--resume: expected the settings of this version; missing layers; unknown blocks',
        ) as string,
      })
    })

    it('whose data has changed', async () => {
      expect(await resume('data.safetensors', await withSettings({ symbols: 5 }))).toMatchObject({
        status: EXIT.usage,
        err: expect.stringContaining(
          '--resume: expected the data that the run began with; it has changed since',
        ) as string,
      })
    })

    it('of another model, whose differences are listed', async () => {
      const { status, err } = await resume('model.safetensors', await withSettings({ modelDim: 16 }))
      expect(status).toBe(EXIT.failedCheck)
      expect(err).toContain('embedding.weight (expected [5, 16], got [5, 32])')
      expect(err).toContain('encoder.layers.1.linear1.bias (expected [64], got [128])')
    })

    it('of other options of the run, which are listed', async () => {
      const { status, err } = await resume('run.safetensors', await withSettings({ weightDecay: 0.5 }))
      expect(status).toBe(EXIT.failedCheck)
      expect(err).toMatch(/expected the options that the checkpoint was made with.*0\.5/)
    })
  })
})
