import { describe, expect, test } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'
import { filled } from '../support/tensors.ts'

const runtimes = { 'on the calling thread': useRuntime({ workers: 0 }), 'on two workers': useRuntime({ workers: 2 }) }
const same = filled([2, 6000, 64], (at) => Math.sin(at))

describe.each(Object.entries(runtimes))('%s', (_, runtime) => {
  // Tasks far shorter than a turn, tasks of about one turn, and one that takes many.
  test.each([16, 128, 6000])('a long call lets the event loop go round at least every 50 ms, at chunk size %i', async (chunkSize) => {
    let [last, longest, turns] = [performance.now(), 0, 0]
    const timer = setInterval(() => {
      const now = performance.now()
      longest = Math.max(longest, now - last)
      last = now
      turns++
    }, 1)
    const { report } = await runtime().attention({ query: same, key: same, value: same }, { chunkSize, causal: true })
    clearInterval(timer)
    longest = Math.max(longest, performance.now() - last)
    expect(report.elapsedMs).toBeGreaterThan(100)
    expect(turns).toBeGreaterThan(1)
    expect(longest).toBeLessThan(50)
  })
})
