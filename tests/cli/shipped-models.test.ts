import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { prepareTask } from '../../src/cli/train/tasks/prepare-task.ts'
import type { OptionValues } from '../../src/cli/command.ts'
import { runMetadata } from '../../src/cli/train/train-files.ts'
import type { TrainReport } from '../../src/cli/train/train-report.ts'
import { modelOptions } from '../../src/cli/train/train-session.ts'
import { readSettings } from '../../src/cli/train/train-settings.ts'
import { createRuntime, type Runtime } from '../../src/index.ts'
import { CausalLanguageModel, readSafetensors, type CausalLanguageModelOptions } from '../../src/nn/index.ts'
import { crossEntropy, lossAndGradients, type Batch } from '../../src/train/index.ts'

const FOLDER = fileURLToPath(new URL('../../models', import.meta.url))
const NAMES = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.safetensors'))
  .map((file) => file.replace('.safetensors', ''))
/** Enough to tell a model from one that has learned nothing. */
const MOST_BATCHES = 16

type Figures = Pick<TrainReport, 'settings' | 'baselines' | 'best' | 'findings' | 'parameters'> & {
  readonly sha256: string
  readonly bytes: number
  readonly command: string
}

let runtime: Runtime
beforeAll(async () => {
  runtime = await createRuntime({ workers: 0 })
})
afterAll(() => runtime.close())

const read = (file: string): Buffer => readFileSync(`${FOLDER}/${file}`)
const figuresOf = (name: string): Figures => JSON.parse(read(`${name}.json`).toString()) as Figures

async function loaded(name: string): Promise<CausalLanguageModel> {
  const { tensors, metadata } = await readSafetensors(read(`${name}.safetensors`))
  const model = new CausalLanguageModel(JSON.parse(metadata['model'] ?? '') as CausalLanguageModelOptions)
  model.loadStateDict(tensors)
  return model
}

/** The options of a command line, all of which take a value. */
function optionsOf(command: string): OptionValues {
  const words = command.split(' ').slice(2)
  return Object.fromEntries(
    words.flatMap((word, place) => (word.startsWith('--') ? [[word.slice(2), words[place + 1] ?? '']] : [])),
  )
}

/** The mean over all targets of the batches. */
async function lossOn(
  model: CausalLanguageModel,
  batches: readonly Batch[],
): Promise<{ readonly loss: number; readonly isWhole: boolean }> {
  let [sum, counted] = [0, 0]
  for (const batch of batches.slice(0, MOST_BATCHES)) {
    const result = await lossAndGradients(model, batch, { loss: crossEntropy(), only: [], runtime })
    sum += result.loss * result.counted
    counted += result.counted
  }
  return { loss: sum / counted, isWhole: batches.length <= MOST_BATCHES }
}

it('are the two that the project ships', () => {
  expect(NAMES).toEqual(['induction', 'names'])
})

describe.each(NAMES)('the model %s', (name) => {
  it('is the file of its card', () => {
    const [{ sha256, bytes, parameters, best, command }, file, card] = [
      figuresOf(name),
      read(`${name}.safetensors`),
      read(`${name}.md`).toString(),
    ]
    expect(createHash('sha256').update(file).digest('hex')).toBe(sha256)
    expect(file).toHaveLength(bytes)
    expect(bytes).toBeLessThan(2 * 2 ** 20)
    for (const text of [sha256, command, parameters.toLocaleString('en-US'), best.loss.toFixed(3)])
      expect(card).toContain(text)
  })

  it('would be made with the same settings, data and options today', async () => {
    const { command, settings } = figuresOf(name)
    const { metadata } = await readSafetensors(read(`${name}.safetensors`))
    const today = readSettings(optionsOf(command))
    expect(today).toEqual(settings)
    const { vocabulary, pieces, dataHash } = await prepareTask(today)
    expect(metadata).toEqual(runMetadata(today, dataHash, modelOptions(today, vocabulary), pieces))
  })

  it('has the loss that its card says, on data that it was not trained on', { timeout: 60_000 }, async () => {
    const { settings, best, baselines, parameters } = figuresOf(name)
    const [model, task] = await Promise.all([loaded(name), prepareTask(settings)])
    expect(model.numParameters()).toBe(parameters)
    expect(task.baselines.bigram).toBeCloseTo(baselines.bigram, 9)
    const { loss, isWhole } = await lossOn(model, task.validation)
    expect(loss).toBeLessThan(baselines.bigram)
    expect(Math.abs(loss - best.loss)).toBeLessThan(isWhole ? 1e-4 : 0.05)
  })

  it('does what its card says', { timeout: 60_000 }, async () => {
    const { settings, best, findings } = figuresOf(name)
    const [model, task] = await Promise.all([loaded(name), prepareTask(settings)])
    const outcome = await task.finish({
      model,
      runtime,
      signal: new AbortController().signal,
      seed: settings.seed,
      loss: best.loss,
    })
    expect(outcome.findings).toEqual(findings)
    expect(findings.every(({ passed }) => passed)).toBe(true)
    expect(outcome.samples.length > 0).toBe(settings.task === 'names')
  })
})
