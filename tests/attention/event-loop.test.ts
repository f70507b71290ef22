import { expect, test } from 'vitest'
import { useRuntime } from '../support/runtimes.ts'
import { filled } from '../support/tensors.ts'

const runtime = useRuntime({ workers: 0 })
const same = filled([2, 6000, 64], (at) => Math.sin(at))

interface Moment {
  readonly wallMs: number
  /** of all threads of this process */
  readonly cpuMs: number
}

function moment(): Moment {
  const { user, system } = process.cpuUsage()
  return { wallMs: performance.now(), cpuMs: (user + system) / 1000 }
}

/**
 * What this thread can have worked at most: wall time counts other processes too, processor time the engine's own
 * threads.
 */
function workBetween(from: Moment, to: Moment): number {
  return Math.min(to.wallMs - from.wallMs, to.cpuMs - from.cpuMs)
}

// Tasks far shorter than a turn, tasks of about one turn, and one that takes many.
test.each([16, 128, 6000])(
  'a long call on the calling thread lets the event loop go round for every 50 ms of work, at chunk size %i',
  async (chunkSize) => {
    const call = () => runtime().attention({ query: same, key: same, value: same }, { chunkSize, causal: true })
    await call() // the engine compiles: that is no work of the lane's
    let last = moment()
    let longest = 0
    let turns = 0
    const timer = setInterval(() => {
      const now = moment()
      longest = Math.max(longest, workBetween(last, now))
      last = now
      turns++
    }, 1)
    const { report } = await call()
    clearInterval(timer)
    longest = Math.max(longest, workBetween(last, moment()))
    expect(report.elapsedMs).toBeGreaterThan(100)
    expect(turns).toBeGreaterThan(1)
    expect(longest).toBeLessThan(50)
  },
)
