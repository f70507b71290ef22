import { learningStages, Probe, type ProbeRecord, type Role } from 'heddle/analysis'
import { CausalLanguageModel } from 'heddle/nn'
import { inductionTask, lossAndGradients, crossEntropy, sequencesInOrder } from 'heddle/train'
import { describe, expect, test } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'

const runtime = useRuntime({ workers: 1 })
const role = (name: string, value: number): Role => ({ name, value, baseline: 0.05 })

/** Records of two heads of layer 1, whose roles are given for each step. */
function records(
  ...steps: readonly [step: number, loss: number, first: readonly Role[], second: readonly Role[]][]
): ProbeRecord[] {
  const head = (index: number, roles: readonly Role[]) => ({ layer: 1, head: index, scores: {}, roles, heatmap: null })
  return steps.map(([step, loss, first, second]) => ({
    step,
    loss,
    entropy: 2,
    heads: [head(2, first), head(3, second)],
    axes: { sequence: 0, queries: [], keys: [] },
    elapsedMs: 1,
  }))
}

describe('learningStages', () => {
  const induction = role('induction', 0.8)
  const previous = role('previous', 0.6)

  test('names who becomes what, and between which steps', () => {
    const { changes, sentences, rows, steepest } = learningStages(
      records(
        [0, 3, [], [previous]],
        [400, 2.9, [], [previous]],
        [700, 1, [induction], [previous]],
        [1000, 0.9, [induction], []],
        [1300, 0.9, [induction], []],
      ),
    )
    expect(changes).toEqual([
      { head: '1.3', role: 'previous', kind: 'gains', after: null, by: 0, value: 0.6, baseline: 0.05 },
      { head: '1.2', role: 'induction', kind: 'gains', after: 400, by: 700, value: 0.8, baseline: 0.05 },
      { head: '1.3', role: 'previous', kind: 'loses', after: 700, by: 1000, value: 0.6, baseline: 0.05 },
    ])
    expect(steepest).toEqual({ from: 400, to: 700, before: 2.9, after: 1 })
    expect(rows[2]).toEqual({ step: 700, loss: 1, entropy: 2, roles: { induction: ['1.2'], previous: ['1.3'] } })
    expect(sentences).toEqual([
      'Head 1.3 is a previous-token head from the first record on, at step 0 (score 0.60, baseline 0.05).',
      'Head 1.2 becomes an induction head between steps 400 and 700 (score 0.80, baseline 0.05).',
      'Head 1.3 stops being a previous-token head between steps 700 and 1000 (score 0.60, baseline 0.05).',
      'The loss falls fastest between steps 400 and 700: from 2.900 to 1.000.',
    ])
  })

  test('says so when it finds nothing; a role in a single record is nothing', () => {
    const { changes, sentences, steepest } = learningStages(
      records([0, 3, [], []], [10, 3, [induction], []], [20, 3.1, [], []]),
    )
    expect(changes).toEqual([])
    expect(steepest).toBeNull()
    expect(sentences).toEqual(['In 3 records no head takes on a role that its baselines do not explain.'])
    expect(learningStages(records([0, 3, [], []])).sentences[0]).toContain('In 1 record no head')
  })

  test('a role that only the last record has counts, and a gap of one record does not', () => {
    const { changes } = learningStages(
      records([0, 3, [], [previous]], [10, 2, [], [previous]], [20, 2, [], []], [30, 2, [induction], [previous]]),
    )
    expect(changes.map(({ head, kind, by }) => [head, kind, by])).toEqual([
      ['1.3', 'gains', 0],
      ['1.2', 'gains', 30],
    ])
  })

  test('refuses what are no records in order', () => {
    expect(() => learningStages([])).toThrow(expect.objectContaining({ code: 'OptionError' }))
    expect(() => learningStages(records([10, 1, [], []], [10, 1, [], []]))).toThrow(/10 after 10/)
    expect(() => learningStages([{ steps: 1 }] as unknown as ProbeRecord[])).toThrow(
      expect.objectContaining({ code: 'OptionError' }),
    )
  })
})

describe('Probe', () => {
  const model = (): CausalLanguageModel =>
    new CausalLanguageModel({ vocabulary: 16, modelDim: 16, heads: 2, layers: 2, dropout: 0.3, seed: 2 }).train()

  test('records the loss in evaluation mode, and scores of every head', async () => {
    const batch = inductionTask({ batch: 3, length: 32, symbols: 16, seed: 5 })(0)
    const heard: number[] = []
    const probe = new Probe({ every: 50, batch, runtime: runtime(), onRecord: ({ step }) => heard.push(step) })
    expect([0, 49, 50, 100].map((step) => probe.isDue(step))).toEqual([true, false, true, true])
    const own = model()
    const before = own.parameters().map(({ data }) => data.slice())
    const record = await probe.record(own, 50)
    const { loss } = await lossAndGradients(model().eval(), batch, {
      loss: crossEntropy(),
      runtime: runtime(),
      only: [],
    })
    expect(record.loss).toBe(loss)
    expect(own.training).toBe(true)
    expect(own.parameters().map(({ data }) => data)).toEqual(before)
    expect(record.heads.map(({ layer, head }) => [layer, head])).toEqual([
      [0, 0],
      [0, 1],
      [1, 0],
      [1, 1],
    ])
    expect(record.heads[3]!.scores.induction!.rows).toBeGreaterThan(0)
    expect(record.heads[3]!.heatmap).toHaveLength(32)
    expect(heard).toEqual([50])
    expect(JSON.parse(JSON.stringify(probe.records))).toEqual(probe.records)
  })

  test('packed sequences do not see each other: a shifted token does not either', async () => {
    const [packed] = sequencesInOrder([Int32Array.of(1, 2, 3, 1), Int32Array.of(2, 4, 2, 5)], {
      batch: 1,
      length: 8,
      pack: true,
    })
    const probe = new Probe({ every: 1, batch: packed!, runtime: runtime() })
    const { heads } = await probe.record(model(), 1)
    // Of the inputs 1 2 3 | 2 4 2, only the last 2 has an earlier copy in its sequence.
    expect(heads[0]!.scores.duplicate!.rows).toBe(1)
    expect(heads[0]!.scores.induction!.rows).toBe(1)
    // two rows of padding do not count
    expect(heads[0]!.scores.self!.rows).toBe(6)
  })

  test('refuses wrong options', async () => {
    const batch = inductionTask({ batch: 1, length: 16, symbols: 16 })(0)
    expect(() => new Probe({ every: 0, batch })).toThrow(expect.objectContaining({ code: 'OptionError' }))
    expect(() => new Probe({ every: 1, batch: {} as never })).toThrow(expect.objectContaining({ code: 'OptionError' }))
    expect(() => new Probe({ every: 1, batch, often: true } as never)).toThrow(/often/)
    await expect(new Probe({ every: 1, batch, runtime: runtime() }).record(model(), -1)).rejects.toMatchObject({
      code: 'OptionError',
    })
  })
})
