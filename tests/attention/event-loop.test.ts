import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'
import { filled } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 0 })
const same = filled([2, 6000, 64], (at) => Math.sin(at))
/** 4·D flops per visible pair of the two causal heads. */
const flops = 4 * 64 * 6000 * 6001
/** About 2 ms of one core: what a lane may compute before it looks at the clock again. */
const MOST_FLOPS_AT_ONCE = 4e7

/**
 * By this clock the next turn is due whenever the lane looks at it, so the turns say how much it computes in between.
 * Each look moves it by more than the time between two turns.
 */
beforeAll(() => {
  let nowMs = performance.now()
  vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 20))
})
afterAll(() => void vi.restoreAllMocks())

// Tasks far shorter than a turn, tasks of about one turn, and one that takes many.
test.each([16, 128, 6000])(
  'a long call on the calling thread lets the event loop go round at any time, at chunk size %i',
  async (chunkSize) => {
    let turns = 0
    let isOver = false
    const count = (): void => {
      turns++
      if (!isOver) setImmediate(count)
    }
    setImmediate(count)
    await runtime()
      .attention({ query: same, key: same, value: same }, { chunkSize, causal: true })
      .finally(() => (isOver = true))
    expect(turns).toBeGreaterThan(flops / MOST_FLOPS_AT_ONCE)
  },
)
