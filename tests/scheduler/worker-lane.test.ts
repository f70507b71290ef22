import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { NodeWorker } from '../../src/scheduler/spawn-worker.ts'
import { WorkerLane } from '../../src/scheduler/worker-lane.ts'

/** A worker of a caller's own making that never says a word. */
function muteWorker(terminate: () => unknown, extra: Partial<NodeWorker> = {}): NodeWorker {
  const worker: NodeWorker = {
    on: () => undefined,
    off: () => undefined,
    postMessage: () => undefined,
    ref: () => undefined,
    unref: () => undefined,
    terminate: terminate as NodeWorker['terminate'],
    ...extra,
  }
  return worker
}

const webWorker = (terminate: () => void): Worker =>
  ({
    addEventListener: () => undefined,
    removeEventListener: () => undefined,
    postMessage: () => undefined,
    terminate,
  }) as unknown as Worker
const fail = (): never => {
  throw new Error('terminate failed')
}

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] }))
afterEach(() => void vi.useRealTimers())

describe('stopping a lane', () => {
  it.each([
    ['throws', muteWorker(fail)],
    ['rejects', muteWorker(() => Promise.reject(new Error('terminate failed')))],
    ['returns nothing', muteWorker(() => undefined)],
    ['throws, of a web worker', webWorker(fail)],
  ])('settles where terminate() %s', async (_, worker) => {
    const lane = new WorkerLane({ workerFactory: () => worker })
    await expect(lane.stop()).resolves.toBeUndefined()
    expect(vi.getTimerCount()).toBe(0)
  })

  it('settles where terminate() never does, after two seconds', async () => {
    const lane = new WorkerLane({ workerFactory: () => muteWorker(() => new Promise(() => undefined)) })
    let settled = false
    const stopped = lane.stop().then(() => (settled = true))
    await vi.advanceTimersByTimeAsync(1_900)
    expect(settled).toBe(false)
    await vi.advanceTimersByTimeAsync(200)
    await stopped
  })

  it('sends nothing more, so that a worker that refuses messages does no harm', async () => {
    const messages: unknown[] = []
    const lane = new WorkerLane({
      workerFactory: () =>
        muteWorker(() => undefined, { postMessage: (message: unknown) => void messages.push(message) }),
    })
    const start = lane.start({ kind: 'wasm', numerics: 'fast', wasm: null }).catch((error: unknown) => error)
    expect(messages).toHaveLength(1)
    await lane.stop(new Error('silent'))
    expect(await start).toMatchObject({ name: 'LaneLost', cause: { message: 'silent' } })
    expect(messages).toHaveLength(1)
  })
})
