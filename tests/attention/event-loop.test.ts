import { expect, test } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'
import { filled } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 0 })
const same = filled([2, 6000, 64], (at) => Math.sin(at))

/** Processor time of this process in ms: on a busy machine wall time would count what other processes do. */
function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

// Tasks far shorter than a turn, tasks of about one turn, and one that takes many.
test.each([16, 128, 6000])('a long call on the calling thread lets the event loop go round for every 50 ms of work, at chunk size %i', async (chunkSize) => {
  let [last, longest, turns] = [cpuMs(), 0, 0]
  const timer = setInterval(() => {
    const now = cpuMs()
    longest = Math.max(longest, now - last)
    last = now
    turns++
  }, 1)
  const { report } = await runtime().attention({ query: same, key: same, value: same }, { chunkSize, causal: true })
  clearInterval(timer)
  longest = Math.max(longest, cpuMs() - last)
  expect(report.elapsedMs).toBeGreaterThan(100)
  expect(turns).toBeGreaterThan(1)
  expect(longest).toBeLessThan(50)
})
