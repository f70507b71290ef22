import { spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { FormatError, NumericError, OptionError } from '../../src/core/errors.ts'
import { readSafetensors, writeSafetensors } from '../../src/nn/state/safetensors.ts'
import type { Batch } from '../../src/train/batch.ts'
import { readCheckpoint } from '../../src/train/checkpoint.ts'
import { AdamW } from '../../src/train/optimizers/adam.ts'
import { SGD } from '../../src/train/optimizers/sgd.ts'
import { cosineAnnealing } from '../../src/train/schedules.ts'
import { stepsOf, tinyRun, valuesOf, type Options } from './support/runs.ts'
import { Random } from '../support/random.ts'
import { tinyBatch, tinyGradients, TinyModel } from './support/tiny-model.ts'

const batches = (count: number): Batch[] => Array.from({ length: count }, (_, index) => tinyBatch(index))
const made = (): TinyModel => new TinyModel(6, 4, 0.2)

/** The bytes after so many steps. */
async function checkpointAfter(steps: number, model = made(), options: Options = {}): Promise<Uint8Array> {
  const last = (await stepsOf(tinyRun(model, { steps, ...options }))).at(-1)
  if (last === undefined) throw new Error('no step')
  return last.checkpoint()
}

/** What a resumed run says of a checkpoint that it does not take; the model must stay as it is. */
async function refusal(resume: Uint8Array, options: Options = {}, model = made()): Promise<Error> {
  const before = valuesOf(model)
  const error: unknown = await stepsOf(tinyRun(model, { resume, ...options })).catch((reason: unknown) => reason)
  expect(valuesOf(model)).toEqual(before)
  if (!(error instanceof Error)) throw new Error('it was taken')
  return error
}

describe('a resumed run', () => {
  it.each<[string, () => Options]>([
    ['a function', () => ({})],
    ['an iterable', () => ({ data: batches(40) })],
    [
      'an async iterable',
      () => ({
        data: (async function* () {
          yield* await Promise.resolve(batches(40))
        })(),
      }),
    ],
    [
      'accumulation and a schedule',
      () => ({ accumulate: 3, clipNorm: 0.1, schedule: cosineAnnealing({ steps: 12, warmup: 2 }) }),
    ],
    ['momentum', () => ({})],
  ])('has the bits of one that was never interrupted: %s', async (name, options) => {
    const optimizer = (model: TinyModel): Options =>
      name === 'momentum' ? { optimizer: new SGD(model, { learningRate: 0.1, momentum: 0.9 }) } : {}
    const whole = made()
    const expected = await checkpointAfter(12, whole, { ...options(), ...optimizer(whole) })
    for (const cut of [1, 7, 11]) {
      const first = made()
      const resume = await checkpointAfter(cut, first, { ...options(), ...optimizer(first) })
      // The model of the second run starts from other values.
      const second = new TinyModel(6, 4, 0.2, 99)
      expect(await checkpointAfter(12, second, { ...options(), ...optimizer(second), resume })).toEqual(expected)
      expect(valuesOf(second)).toEqual(valuesOf(whole))
    }
  })

  it('asks a function for the next batch at once, and draws what an iterable gave before', async () => {
    const resume = await checkpointAfter(4, made(), { accumulate: 2 })
    const asked: number[] = []
    const data = (index: number): Batch => {
      asked.push(index)
      return tinyBatch(index)
    }
    await stepsOf(tinyRun(made(), { data, resume, accumulate: 2, steps: 5 }))
    expect(asked).toEqual([8, 9])
  })

  it('refuses data that ends before the place where it goes on', async () => {
    const resume = await checkpointAfter(4)
    await expect(stepsOf(tinyRun(made(), { resume, data: batches(3) }))).rejects.toThrow(
      'train: resume: expected data of at least 4 batches, which the run had drawn before, got 3',
    )
  })

  it('goes on with the best loss, its parameters and the patience', async () => {
    const other = batches(4).map(({ tokens }): Batch => ({
      tokens: tokens as NonNullable<typeof tokens>,
      targets: tokens as NonNullable<typeof tokens>,
    }))
    const options: Options = { steps: 500, evaluate: { every: 2, data: other, patience: 6, keepBest: true } }
    const whole = new TinyModel()
    const steps = await stepsOf(tinyRun(whole, options))
    const files = new Map<number, Uint8Array>()
    const saved = await stepsOf(
      tinyRun(new TinyModel(), { ...options, checkpoint: { every: 1, save: (bytes, step) => files.set(step, bytes) } }),
    )
    expect(saved.length).toBe(steps.length)
    for (const cut of [1, steps.length - 7, steps.length - 1]) {
      const model = new TinyModel()
      const rest = await stepsOf(tinyRun(model, { ...options, resume: files.get(cut) ?? new Uint8Array(0) }))
      expect(rest.map(({ evaluation }) => evaluation)).toEqual(steps.slice(cut).map(({ evaluation }) => evaluation))
      expect(valuesOf(model)).toEqual(valuesOf(whole))
    }
    // at the end there is nothing left to do but to take the best parameters
    const model = new TinyModel()
    expect(await stepsOf(tinyRun(model, { ...options, resume: files.get(steps.length) ?? new Uint8Array(0) }))).toEqual(
      [],
    )
    expect(valuesOf(model)).toEqual(valuesOf(whole))
  })

  it('makes up for an evaluation that an abort prevented', async () => {
    const options: Options = { steps: 6, evaluate: { every: 3, data: batches(2) } }
    const expected = (await stepsOf(tinyRun(made(), options))).at(-1)?.checkpoint()
    const controller = new AbortController()
    const call: ReturnType<typeof tinyGradients> = (module, batch, given) => {
      if (given.only?.length === 0) controller.abort(new Error('enough'))
      return tinyGradients()(module, batch, given)
    }
    let last: { checkpoint(): Uint8Array } | undefined
    const run = tinyRun(made(), { ...options, signal: controller.signal }, call)
    await expect(
      (async () => {
        for await (const step of run) last = step
      })(),
    ).rejects.toThrow('enough')
    const resume = last?.checkpoint() ?? new Uint8Array(0)
    expect((await readCheckpoint(resume)).progress).toMatchObject({ step: 3, evaluatedStep: 0 })
    expect((await stepsOf(tinyRun(made(), { ...options, resume }))).at(-1)?.checkpoint()).toEqual(expected)
  })
})

describe('a killed process', () => {
  let folder = ''
  let script = ''
  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-train-'))
    script = path.join(folder, 'run.mjs')
    const entry = fileURLToPath(new URL('support/resumable-run.ts', import.meta.url))
    await build({
      entryPoints: [entry],
      outfile: script,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      loader: { '.wasm': 'binary', '.deflate': 'base64' },
      external: ['webgpu'],
      logLevel: 'error',
      banner: { js: 'import { createRequire as __r } from "node:module"; const require = __r(import.meta.url);' },
    })
  })
  afterAll(() => rm(folder, { recursive: true }))

  /** Runs until the end, or until `killAt` was said. */
  function run(file: string, steps: number, killAt = Infinity): Promise<number> {
    return new Promise((resolve, reject) => {
      const child = spawn(process.execPath, [script, file, String(steps)], { stdio: ['ignore', 'pipe', 'inherit'] })
      let said = ''
      let last = 0
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        said += text
        last = Number(said.split('\n').at(-2) ?? 0)
        if (last >= killAt) child.kill('SIGKILL')
      })
      child.once('error', reject)
      child.once('close', (code) =>
        code === 0 || killAt < Infinity ? resolve(last) : reject(new Error(`exit ${code}`)),
      )
    })
  }

  it('resumes with the same bits: the final file is the same, byte by byte', { timeout: 60_000 }, async () => {
    const seed = Date.now() % 100_000
    const random = new Random(seed)
    const steps = 300
    const whole = path.join(folder, 'whole.safetensors')
    expect(await run(whole, steps)).toBe(steps)
    const killed = path.join(folder, 'killed.safetensors')
    const places: number[] = []
    for (let at = random.integer(1, 60); at < steps - 60; at += random.integer(40, 90))
      places.push(await run(killed, steps, at))
    expect(await run(killed, steps)).toBe(steps)
    expect(places.length).toBeGreaterThan(1)
    expect((await readFile(killed)).equals(await readFile(whole)), `seed ${seed}, killed at ${places.join(', ')}`).toBe(
      true,
    )
  })
})

describe('a checkpoint', () => {
  it('is a safetensors file of everything that the run needs', async () => {
    const model = made()
    const bytes = await checkpointAfter(5, model, {
      checkpoint: { every: 9, save: () => undefined, metadata: { task: 'tiny' } },
    })
    const { tensors } = await readSafetensors(bytes)
    expect(Object.keys(tensors).sort()).toEqual(
      ['embedding.weight', 'head.weight']
        .flatMap((name) => [
          `model.${name}`,
          `optimizer.firstMoment.${name}`,
          `optimizer.secondMoment.${name}`,
          `optimizer.steps.${name}`,
        ])
        .sort(),
    )
    const { parameters, progress, metadata, run } = await readCheckpoint(bytes)
    expect(progress).toEqual({ step: 5, batches: 5, evaluatedStep: 0, best: null, sinceBest: 0 })
    expect(metadata).toEqual({ task: 'tiny' })
    expect(run).toMatchObject({ optimizer: { optimizer: 'AdamW' }, seed: { seedLow: 0, seedHigh: 0 } })
    const copy = new TinyModel(6, 4, 0, 50)
    copy.loadStateDict(parameters)
    expect(valuesOf(copy)).toEqual(valuesOf(model))
  })

  it('of another model is refused with all differences', async () => {
    const resume = await checkpointAfter(1)
    expect((await refusal(resume, {}, new TinyModel(7, 4))).message).toMatch(
      /train: resume: .*misshapen embedding.weight \(expected \[7, 4\], got \[6, 4\]\), head.weight \(expected \[7, 4\], got \[6, 4\]\)/,
    )
    const { tensors, metadata } = await readSafetensors(resume)
    const { 'model.head.weight': head, ...rest } = tensors
    if (head === undefined) throw new Error('no head')
    const error = await refusal(writeSafetensors({ ...rest, 'model.tail': head }, metadata))
    expect(error).toBeInstanceOf(FormatError)
    expect(error.message).toMatch(/train: resume: .*missing head.weight; unexpected tail/)
  })

  it('of another optimizer or other hyperparameters is refused with all differences', async () => {
    const resume = await checkpointAfter(1)
    const model = made()
    expect((await refusal(resume, { optimizer: new SGD(model, { learningRate: 0.05 }) }, model)).message).toContain(
      'optimizer.optimizer: "AdamW" in the checkpoint, "SGD" here',
    )
    const error = await refusal(resume, { accumulate: 2, seed: 3, schedule: cosineAnnealing({ steps: 100 }) })
    expect(error).toBeInstanceOf(OptionError)
    expect(error.message).toMatch(
      /^train: resume: expected the options that the checkpoint was made with, or allowChangedOptions; accumulate: 1 in the checkpoint, 2 here; seed.seedLow: 0 in the checkpoint, 3 here; rate after 1 updates: 0.05 in the checkpoint, 0.0499\d+ here, and 20 later ones$/,
    )
    // on request it is taken all the same, where the optimizer's state fits
    expect(await stepsOf(tinyRun(made(), { resume, accumulate: 2, allowChangedOptions: true, steps: 3 }))).toHaveLength(
      2,
    )
    const again = made()
    expect(
      (
        await refusal(
          resume,
          { optimizer: new SGD(again, { learningRate: 0.05, momentum: 0.5 }), allowChangedOptions: true },
          again,
        )
      ).message,
    ).toMatch(/missing momentum.embedding.weight.*unexpected firstMoment.embedding.weight/)
  })

  it('that is cut off anywhere is refused', async () => {
    const resume = await checkpointAfter(1)
    for (let length = 0; length < resume.length; length += 97)
      expect(await refusal(resume.slice(0, length))).toBeInstanceOf(FormatError)
  })

  it('that is none, or holds nonsense, is refused', async () => {
    const resume = await checkpointAfter(2)
    const { tensors, metadata } = await readSafetensors(resume)
    const changed = (strings: Record<string, string>, more: typeof tensors = {}) =>
      refusal(writeSafetensors({ ...tensors, ...more }, { ...metadata, ...strings }))
    expect((await changed({ format: 'pt' })).message).toContain(
      'expected a file of format heddle-checkpoint/1, got "pt"',
    )
    expect((await changed({ progress: '{' })).message).toContain('expected JSON under progress')
    const counters = { step: 1, batches: 1, evaluatedStep: 0, best: null, sinceBest: 0 }
    for (const name of ['step', 'batches', 'evaluatedStep', 'sinceBest', 'best'])
      expect((await changed({ progress: JSON.stringify({ ...counters, [name]: -1 }) })).message, name).toContain(
        'expected counters of a run under progress',
      )
    expect((await changed({ metadata: '{"a":1}' })).message).toContain('expected strings under metadata')
    expect((await changed({}, { stray: { data: new Float32Array(1), shape: [1] } })).message).toContain(
      'expected tensors of model., optimizer., best., got stray',
    )
    expect((await changed({}, { 'model.head.weight': { data: new Int32Array(24), shape: [6, 4] } })).message).toContain(
      'expected float32 parameters, got integers in head.weight',
    )
    expect((await changed({}, { 'best.head.weight': { data: new Float32Array(1), shape: [1] } })).message).toContain(
      'expected the best parameters to be those of the model',
    )
    expect(
      await changed({}, { 'model.head.weight': { data: new Float32Array(24).fill(NaN), shape: [6, 4] } }),
    ).toBeInstanceOf(NumericError)
    expect(
      await changed(
        {},
        { 'optimizer.firstMoment.head.weight': { data: new Float32Array(24).fill(NaN), shape: [6, 4] } },
      ),
    ).toBeInstanceOf(NumericError)
  })

  it('is saved at the steps asked for, and the run waits for it', async () => {
    const saved: number[] = []
    const save = async (bytes: Uint8Array, step: number): Promise<void> => {
      await Promise.resolve()
      saved.push((await readCheckpoint(bytes)).progress.step, step)
    }
    for await (const { step } of tinyRun(made(), { steps: 7, checkpoint: { every: 3, save } }))
      expect(saved).toEqual([3, 3, 6, 6, 7, 7].slice(0, step === 7 ? 6 : 2 * Math.floor(step / 3)))
    const model = made()
    await expect(
      stepsOf(tinyRun(model, { checkpoint: { every: 2, save: () => Promise.reject(new Error('disk full')) } })),
    ).rejects.toThrow('disk full')
    const twin = made()
    await stepsOf(tinyRun(twin, { steps: 2, optimizer: new AdamW(twin, { learningRate: 0.05 }) }))
    expect(valuesOf(model)).toEqual(valuesOf(twin))
  })
})
