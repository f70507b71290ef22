import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { CausalLanguageModel, writeSafetensors } from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { heddle } from './heddle.ts'

let folder = ''
const at = (name: string): string => path.join(folder, name)

/** A model as `heddle train` writes it. */
function modelFile(settings: object, pieces: readonly string[] | null): Uint8Array {
  const options = { vocabulary: pieces?.length ?? 16, modelDim: 16, heads: 2, layers: 2, seed: 1 }
  const model = new CausalLanguageModel(options)
  return writeSafetensors(model.stateDict(), {
    settings: JSON.stringify(settings),
    model: JSON.stringify(options),
    ...(pieces === null ? {} : { pieces: JSON.stringify(pieces) }),
  })
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'heddle-analyze-'))
  await writeFile(at('names.safetensors'), modelFile({ task: 'names', seed: 0 }, ['\n', ...'abnel']))
  await writeFile(at('induction.safetensors'), modelFile({ task: 'induction', length: 64, symbols: 16, seed: 0 }, null))
  await writeFile(at('other.safetensors'), writeSafetensors({ x: { data: new Float32Array(2), shape: [2] } }))
  await writeFile(at('text.txt'), 'this is no model')
})

afterAll(() => rm(folder, { recursive: true, force: true }))

describe('heddle analyze', () => {
  test('prints a row for each head, and JSON', async () => {
    const { status, out, err } = await heddle([
      'analyze',
      at('names.safetensors'),
      '--text',
      'annabel',
      '--workers',
      '1',
      '--json',
    ])
    expect(status).toBe(0)
    expect(err).toMatch(/^1\.1 .*%/m)
    const { format, labels, analysis } = JSON.parse(out) as {
      format: string
      labels: string[]
      analysis: { layers: { heads: unknown[] }[] }
    }
    expect(format).toBe('heddle-analyze/1')
    expect(labels).toEqual(['\n', ...'annabel', '\n'])
    expect(analysis.layers.map(({ heads }) => heads.length)).toEqual([2, 2])
  })

  test('takes a sequence of the model’s own task, and writes the report', async () => {
    const { status, out } = await heddle([
      'analyze',
      at('induction.safetensors'),
      '--workers',
      '1',
      '--out',
      at('report'),
    ])
    expect(status).toBe(0)
    expect(out).toMatch(/^64 tokens, 2 layers of 2 heads/m)
    expect(await readFile(at('report/analyze.html'), 'utf8')).toContain('<th class="left">head</th>')
    expect(JSON.parse(await readFile(at('report/analyze.json'), 'utf8'))).toMatchObject({
      file: 'induction.safetensors',
    })
  })

  test('heddle train --probe records heads on the way, and its model is one to analyze', async () => {
    const sizes = [
      '--steps',
      '4',
      '--batch',
      '4',
      '--length',
      '8',
      '--symbols',
      '4',
      '--layers',
      '1',
      '--heads',
      '2',
      '--model-size',
      '16',
      '--workers',
      '1',
    ]
    const { status, out, err } = await heddle([
      'train',
      '--task',
      'copy',
      ...sizes,
      '--probe',
      '2',
      '--json',
      '--out',
      at('trained'),
    ])
    expect(status, err).toBe(1) // four steps teach it nothing
    const { heads } = JSON.parse(out) as {
      heads: { records: { step: number; heads: { heatmap: number[][] }[] }[]; stages: { sentences: string[] } }
    }
    expect(heads.records.map(({ step }) => step)).toEqual([0, 2, 4])
    expect(heads.records[1]!.heads.map(({ heatmap }) => heatmap.length)).toEqual([8, 8])
    expect(err).toContain(heads.stages.sentences[0])
    expect(await readFile(at('trained/train-copy.html'), 'utf8')).toContain('How its heads came about')
    const analyzed = await heddle(['analyze', at('trained/train-copy.safetensors'), '--workers', '1'])
    expect(analyzed.out).toMatch(/^8 tokens, 1 layers? of 2 heads/m)
    const checkpoint = await heddle([
      'analyze',
      at('trained/train-copy-checkpoint.safetensors'),
      '--workers',
      '1',
      '--tokens',
      '1 2 3',
    ])
    expect(checkpoint.status, checkpoint.err).toBe(0)
  })

  test.each([
    ['no model', [], /expected a model: heddle analyze MODEL/],
    ['a file that is not there', ['nothing.safetensors'], /can be read, got '.*nothing\.safetensors' \(ENOENT\)/],
    ['a file that is no model', ['text.txt'], /expected a model of 'heddle train', got '.*text\.txt'/],
    ['a model of another program', ['other.safetensors'], /without its settings/],
    ['no text for a model of text', ['names.safetensors'], /expected a text/],
    ['an unknown character', ['names.safetensors', '--text', 'anxa'], /--text: .* got "x" at character 3/],
    ['one token', ['induction.safetensors', '--tokens', '3'], /two numbers or more, got 1/],
    ['a token out of range', ['induction.safetensors', '--tokens', '3 16 2'], /from 0 to 15, got '16'/],
    ['text for a model without', ['induction.safetensors', '--text', 'a b'], /expected a model of text/],
    ['two inputs', ['names.safetensors', '--text', 'ab', '--tokens', '1 2'], /one of --text, --file and --tokens/],
    ['two models', ['names.safetensors', 'extra'], /unexpected argument/],
  ])('%s', async (_, [file, ...more], message) => {
    const { status, err } = await heddle(['analyze', ...(file === undefined ? [] : [at(file)]), ...more])
    expect(err).toMatch(message)
    expect(status).toBe(2)
  })
})
