import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { CausalLanguageModel, writeSafetensors } from 'heddle/nn'
import type { AnalyzeReport } from '../../src/cli/analyze/analyze-report.ts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fileURLToPath } from 'node:url'
import { annotatedText } from '../analysis/support/annotated-text.ts'
import { heddle } from './heddle.ts'

const INDUCTION = fileURLToPath(new URL('../../models/induction.safetensors', import.meta.url))
const annotated = annotatedText()
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
  const words = modelFile({ task: 'text', tokens: 'words', seed: 0 }, annotated.tokenizer.vocabulary)
  await writeFile(at('words.safetensors'), words)
  await writeFile(at('relations.json'), JSON.stringify(annotated.relations))
  await writeFile(
    at('beyond.json'),
    JSON.stringify({
      verb: [
        [3, 1],
        [9000, 1],
      ],
    }),
  )
  await writeFile(at('list.json'), '[[3, 1]]')
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

  test('finds the induction heads of the shipped model, with their evidence', async () => {
    const { status, out, err } = await heddle([
      'analyze',
      INDUCTION,
      '--workers',
      '1',
      '--json',
      '--out',
      at('shipped'),
    ])
    expect(status, err).toBe(0)
    const { roles, analysis } = JSON.parse(out) as AnalyzeReport
    const induction = roles.filter(({ role }) => role === 'induction')
    expect(induction.map(({ head }) => head)).toEqual(['1.0', '1.1'])
    for (const { value, uniform, shuffled, counted, sentence } of induction) {
      expect(value).toBeGreaterThan(0.9)
      expect(uniform).toBeLessThan(0.15)
      expect(shuffled).toBeLessThan(0.2)
      expect(counted).toBeGreaterThan(30)
      expect(err).toContain(sentence)
    }
    // The heads of the first layer prepare it: one brings along the token before.
    expect(roles).toContainEqual(expect.objectContaining({ head: '0.0', role: 'previous' }))
    expect(analysis.layers[0]!.heads.flatMap(({ roles: own }) => own.map(({ name }) => name))).not.toContain(
      'induction',
    )
    const page = await readFile(at('shipped/analyze.html'), 'utf8')
    for (const text of [induction[0]!.sentence, 'Head 1.1: induction', 'Where position 63', 'uniform 0.'])
      expect(page).toContain(text)
    const svg = await readFile(at('shipped/analyze-heads.svg'), 'utf8')
    for (const text of ['>1.0<', '>induction<', '>0 to 1: attention<']) expect(svg).toContain(text)
  })

  test('measures the relations of a file, and names the head that finds each best', async () => {
    const text = ['--text', annotated.text, '--relations', at('relations.json')]
    const { status, out, err } = await heddle(['analyze', at('words.safetensors'), ...text, '--workers', '1', '--json'])
    expect(status, err).toBe(0)
    const { relations, analysis } = JSON.parse(out) as AnalyzeReport
    expect(relations.map(({ relation }) => relation).sort()).toEqual(Object.keys(annotated.relations).sort())
    for (const { relation, head, value, pairs } of relations) {
      expect(pairs).toBe(annotated.relations[relation]!.length)
      const all = analysis.layers.flatMap(({ index, heads }) =>
        heads.map((each) => ({
          name: `${index}.${each.head}`,
          value: each.relations.find(({ name }) => name === relation)!.value!,
        })),
      )
      expect(value).toBe(Math.max(...all.map((each) => each.value)))
      expect(all.find(({ name }) => name === head)!.value).toBe(value)
      expect(err).toMatch(new RegExp(`^${relation} +${head} `, 'm'))
    }
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
    [
      'a relation beyond the text',
      ['induction.safetensors', '--relations', 'beyond.json'],
      /relations\.verb\[1\]: expected a query from 0 to 63, got 9000/,
    ],
    [
      'relations that are no object',
      ['induction.safetensors', '--relations', 'list.json'],
      /--relations: expected an object/,
    ],
    ['relations that are no JSON', ['induction.safetensors', '--relations', 'text.txt'], /--relations: expected JSON/],
    [
      'relations that are not there',
      ['induction.safetensors', '--relations', 'no.json'],
      /can be read, got '.*no\.json' \(ENOENT\)/,
    ],
    ['two inputs', ['names.safetensors', '--text', 'ab', '--tokens', '1 2'], /one of --text, --file and --tokens/],
    ['two models', ['names.safetensors', 'extra'], /unexpected argument/],
  ])('%s', async (_, [file, ...more], message) => {
    const { status, err } = await heddle([
      'analyze',
      ...(file === undefined ? [] : [at(file)]),
      ...more.map((each, place) => (more[place - 1] === '--relations' ? at(each) : each)),
    ])
    expect(err).toMatch(message)
    expect(status).toBe(2)
  })
})
