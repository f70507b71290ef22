import { PerformanceObserver, type PerformanceEntry } from 'node:perf_hooks'
import { createRuntime, drawDevToolsTracks, type RuntimeEvents } from 'heddle'
import { TransformerBlock } from 'heddle/nn'
import { expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { normalTensor } from '../support/tensors.ts'

const x = normalTensor(new Random(4), [1, 300, 8])
const inputs = { query: x, key: x, value: x }

test('a runtime tells which lane did what, of attention, gradients and layers', async () => {
  await using runtime = await createRuntime({ workers: 1 })
  const tasks: RuntimeEvents['task'][] = []
  const stop = runtime.on('task', (task) => tasks.push(task))
  const startMs = performance.now()
  const { output, logSumExp } = await runtime.attention(inputs, { chunkSize: 100, returnLogSumExp: true })
  expect(tasks.every(({ what, thread }) => what === 'attention' && thread === 'worker')).toBe(true)
  expect(tasks.reduce((sum, task) => sum + task.tasks, 0)).toBe(3)
  for (const task of tasks) {
    expect(task.startMs).toBeGreaterThanOrEqual(startMs - 1)
    expect(task.endMs).toBeGreaterThanOrEqual(task.startMs)
  }
  await runtime.attentionBackward({ ...inputs, output, logSumExp: logSumExp, dOutput: output })
  expect(tasks.at(-1)?.what).toBe('attention-backward')
  await new TransformerBlock({ modelDim: 8, heads: 2, seed: 1 }).forward(x, { runtime, chunkSize: 100 })
  expect(tasks.at(-1)?.what).toMatch(/pass|stage/)
  stop()
  const heard = tasks.length
  await runtime.attention(inputs)
  expect(tasks).toHaveLength(heard)
})

test('DevTools gets a track per lane, and the timeline of the page stays empty', async () => {
  await using runtime = await createRuntime({ workers: 0 })
  const entries: PerformanceEntry[] = []
  const observer = new PerformanceObserver((list) => entries.push(...list.getEntries()))
  observer.observe({ entryTypes: ['measure'] })
  const stop = drawDevToolsTracks(runtime)
  await runtime.attention(inputs, { chunkSize: 100 })
  stop()
  await runtime.attention(inputs, { chunkSize: 100 })
  const found = [...observer.takeRecords(), ...entries].filter(({ name }) => name.startsWith('heddle: '))
  observer.disconnect()
  expect(found.map(({ name }) => name)).toEqual(['heddle: attention'])
  expect((found[0] as { readonly detail?: unknown }).detail).toEqual({
    devtools: {
      dataType: 'track-entry',
      track: 'calling thread (wasm)',
      trackGroup: 'Heddle',
      color: 'primary',
      properties: [['tasks', '3']],
      tooltipText: 'attention, 3 tasks',
    },
  })
  expect(performance.getEntriesByType('measure')).toEqual([])
})
