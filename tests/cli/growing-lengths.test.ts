import { describe, expect, it } from 'vitest'
import { describeGrowth, growing, growthStages } from '../../src/cli/train/tasks/growing-lengths.ts'
import { prepareTask } from '../../src/cli/train/tasks/prepare-task.ts'
import { readSettings } from '../../src/cli/train/train-settings.ts'
import type { Batch } from '../../src/train/index.ts'

/** Batches that hold nothing but their number. */
const numbered =
  ({ batch, length }: { readonly batch: number; readonly length: number }) =>
  (index: number): Batch => {
    const tensor = { data: new Int32Array(batch * length).fill(index), shape: [batch, length] }
    return { tokens: tensor, targets: tensor }
  }

describe('rows', () => {
  it('grow by doubling, with as many tokens per batch, and spend most steps on the shortest and the longest', () => {
    const stages = growthStages({ batch: 2, length: 1024 }, 1000, 16)
    expect(stages.map(({ batch, length }) => [batch, length])).toEqual([
      [128, 16],
      [64, 32],
      [32, 64],
      [16, 128],
      [8, 256],
      [4, 512],
      [2, 1024],
    ])
    expect(stages.map(({ from }) => from)).toEqual([0, 350, 410, 470, 530, 590, 650])
    expect(describeGrowth(stages)).toBe('; rows grow: 16, 32, 64, 128, 256, 512, 1,024 tokens')
  })

  it('of other lengths end at exactly that length, and never have more tokens per batch', () => {
    for (const length of [65, 100, 1000, 1023, 3000])
      for (const steps of [1, 7, 100])
        for (const shortest of [16, 128]) {
          const stages = growthStages({ batch: 3, length }, steps, shortest)
          expect(stages.at(-1)).toMatchObject({ batch: 3, length })
          expect(stages[0]?.from).toBe(0)
          for (const [index, stage] of stages.entries()) {
            expect(stage.length).toBeGreaterThanOrEqual(Math.min(shortest, length) / 2)
            expect(stage.batch * stage.length).toBeLessThanOrEqual(3 * length)
            expect(stage.from).toBeGreaterThanOrEqual(stages[index - 1]?.from ?? 0)
          }
        }
  })

  it('that are short stay as they are', () => {
    expect(growthStages({ batch: 16, length: 64 }, 550, 16)).toEqual([{ from: 0, batch: 16, length: 64 }])
    expect(growthStages({ batch: 2, length: 128 }, 550, 128)).toEqual([{ from: 0, batch: 2, length: 128 }])
    expect(describeGrowth(growthStages({ batch: 16, length: 64 }, 550, 16))).toBe('')
  })

  it('come out of the stage of their number, in any order', () => {
    const at = growing(growthStages({ batch: 1, length: 256 }, 20, 16), numbered)
    const found = [19, 0, 6, 7, 12, 13].map((index) => [at(index).tokens?.shape, at(index).tokens?.data[0]])
    expect(found).toEqual([
      [[1, 256], 19],
      [[16, 16], 0],
      [[16, 16], 6],
      [[8, 32], 7],
      [[2, 128], 12],
      [[1, 256], 13],
    ])
  })
})

describe('the task', () => {
  it('induction of 1,024 tokens has rows as long in the end, and is measured on no others', async () => {
    const settings = readSettings({ task: 'induction', length: '1024', symbols: '64', batch: '1', steps: '1000' })
    const task = await prepareTask(settings)
    expect(task.training(0).tokens?.shape).toEqual([64, 16])
    // the last batches are long and short in turns
    const last = [3, 2, 1].map((back) => task.training(settings.steps - back).tokens?.shape)
    expect(last).toEqual([
      [1, 1024],
      [64, 16],
      [1, 1024],
    ])
    expect(task.validation).toHaveLength(128)
    for (const { tokens, targets } of task.validation) {
      expect(tokens?.shape).toEqual([1, 1024])
      // nothing counts before the period ends, which is at least a quarter of the longest
      expect(targets?.data.slice(0, 15).every((target) => target === -100)).toBe(true)
    }
    expect(task.facts[0]).toContain('rows grow: 16, 32, 64, 128, 256, 512, 1,024 tokens; 128 sequences held out')
  })

  it('induction with rows of 64 tokens does not grow: the shipped model was made so', async () => {
    const task = await prepareTask(readSettings({ task: 'induction', batch: '16', length: '64' }))
    expect([0, 300].map((index) => task.training(index).tokens?.shape)).toEqual([
      [16, 64],
      [16, 64],
    ])
    expect(task.facts[0]).not.toContain('grow')
    expect(task.validation).toHaveLength(16)
  })
})
