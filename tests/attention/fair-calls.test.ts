import type { Runtime } from 'heddle'
import { TransformerBlock } from 'heddle/nn'
import { describe, expect, test } from 'vitest'
import { allLanes, useRuntime } from '../support/runtimes.ts'
import { filled, fingerprint, shared } from '../support/tensors.ts'

const rows = (count: number) => shared(filled([1, count, 64], (at) => Math.sin(at * 0.37)))
const [long, short] = [rows(8192), rows(600)]
const block = new TransformerBlock({ modelDim: 64, heads: 1, feedForwardDim: 64, seed: 1 })

const SHORT: Readonly<Record<string, (runtime: Runtime) => Promise<string>>> = {
  attention: async (runtime) =>
    fingerprint((await runtime.attention({ query: short, key: short, value: short })).output.data),
  'a layer': async (runtime) => fingerprint((await block.forward(short, { runtime })).output.data),
}

describe.each([
  ['two workers', { workers: 2 }],
  ['one worker', { workers: 1 }],
  ['one worker, by transfer', { workers: 1, sharedMemory: 'never' }],
  ['the calling thread', { workers: 0 }],
] as const)('short calls while a long one runs, on %s', (_, options) => {
  const runtime = useRuntime(options)

  /** The long call is one task on each lane: what ends before it went in between. */
  test.each(Object.entries(SHORT))(
    '%s: each has its own bits, and three end before any task of the long one does',
    async (_name, call) => {
      await allLanes(runtime())
      const expected = await call(runtime())
      let tasksDone = 0
      const onChunk = (): void => void tasksDone++
      const tasks = runtime().lanes.length
      const running = runtime().attention(
        { query: long, key: long, value: long },
        { chunkSize: long.shape[1]! / tasks, onChunk },
      )
      for (let ended = 0; ended < 3; ended++) expect(await call(runtime())).toBe(expected)
      expect(tasksDone).toBe(0)
      const { report } = await running
      expect(tasksDone).toBe(tasks)
      expect(report.memory.peakBytes).toBeLessThanOrEqual(report.memory.plannedBytes)
    },
  )

  test('a second bench is in the plan of the call that uses it, and stays in later plans', async () => {
    const running = runtime().attention({ query: long, key: long, value: long }, { chunkSize: 1024 })
    const { report } = await runtime().attention({ query: short, key: short, value: short })
    expect(report.plan.mayRunBeside).toBe(true)
    expect(report.memory.peakBytes).toBeLessThanOrEqual(report.memory.plannedBytes)
    await running
    expect(runtime().plan({ query: long, key: long, value: long }).mayRunBeside).toBe(false)
    const wide = await runtime().attention({
      query: filled([1, 300, 512], Math.sin),
      key: filled([1, 300, 512], Math.sin),
      value: filled([1, 300, 512], Math.sin),
    })
    expect(wide.report.memory.peakBytes).toBeLessThanOrEqual(wide.report.memory.plannedBytes)
  })
})

describe('short calls while a long pass of layers runs', () => {
  const runtime = useRuntime({ workers: 1 })

  test.each(Object.entries(SHORT))('%s: several end before the pass does', async (_name, call) => {
    const expected = await call(runtime())
    let over = false
    const running = block.forward(long, { runtime: runtime() }).finally(() => (over = true))
    for (let ended = 0; ended < 3; ended++) expect(await call(runtime())).toBe(expected)
    expect(over).toBe(false)
    const { report } = await running
    expect(report.memory.peakBytes).toBeLessThanOrEqual(report.memory.plannedBytes)
  })
})

describe('a budget that has no room for a second bench', () => {
  const probe = useRuntime({ workers: 1 })

  test('leaves calls to one, and does not refuse them', async () => {
    const { budgetedBytes } = probe().plan({ query: short, key: short, value: short })
    const { createRuntime } = await import('heddle')
    const runtime = await createRuntime({ workers: 1, memoryBudgetBytes: budgetedBytes })
    const calls = [0, 1, 2].map(() => runtime.attention({ query: short, key: short, value: short }))
    for (const { report } of await Promise.all(calls)) expect(report.plan.mayRunBeside).toBe(false)
    await runtime.close()
  })
})

test('an unknown priority is refused, by attention and by layers', async () => {
  const { createRuntime } = await import('heddle')
  const runtime = await createRuntime({ workers: 0 })
  const priority = 'urgent' as 'high'
  await expect(runtime.attention({ query: short, key: short, value: short }, { priority })).rejects.toMatchObject({
    code: 'OptionError',
  })
  await expect(block.forward(short, { runtime, priority })).rejects.toMatchObject({ code: 'OptionError' })
  await expect(block.forward(short, { runtime, priority: 'low' })).resolves.toBeDefined()
  await runtime.close()
})
