import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { AttentionProgress } from 'heddle'
import { ProgressMeter } from '../../src/attention/progress.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] }))
afterEach(() => vi.useRealTimers())

/** A call of 40 tasks of 10 units of work each on four lanes: each takes 100 ms per task, two are at each lane. */
async function fourLanes(onProgress: (progress: AttentionProgress) => void, rounds = 10): Promise<void> {
  const meter = new ProgressMeter({ tasks: 40, cost: 400, lanes: 4 }, onProgress)
  await meter.follow(() => {
    let sent = 0
    const send = (): void => void (sent++ < 40 && meter.sent(10))
    for (let count = 0; count < 8; count++) send()
    for (let round = 0; round < rounds; round++) {
      vi.advanceTimersByTime(100)
      for (let lane = 0; lane < 4; lane++) {
        meter.step(1, 10, 100)
        send()
      }
    }
    return Promise.resolve()
  })
}

test('the estimate is right from the first task on, although the other lanes have not ended theirs', async () => {
  const heard: AttentionProgress[] = []
  await fourLanes((progress) => heard.push(progress))
  expect(heard[0]).toEqual({ done: 0, total: 40, elapsedMs: 0, remainingMs: NaN })
  expect(heard[1]).toEqual({ done: 1, total: 40, elapsedMs: 100, remainingMs: 900 })
  for (const { elapsedMs, remainingMs } of heard.slice(1)) expect(elapsedMs + remainingMs).toBeCloseTo(1000, 6)
  expect(heard.at(-1)).toEqual({ done: 40, total: 40, elapsedMs: 1000, remainingMs: 0 })
})

test('the estimate takes no more than what was sent for done', async () => {
  const heard: AttentionProgress[] = []
  const meter = new ProgressMeter({ tasks: 4, cost: 40, lanes: 4 }, (progress) => heard.push(progress))
  await meter.follow(() => {
    meter.sent(10)
    vi.advanceTimersByTime(100)
    meter.sent(10)
    meter.sent(-10) // its lane was lost
    meter.step(1, 10, 100)
    return Promise.resolve()
  })
  expect(heard.at(-1)).toMatchObject({ done: 1, elapsedMs: 100, remainingMs: 300 })
})

test('time goes on while no task ends, and stops with the call', async () => {
  const heard: number[] = []
  const meter = new ProgressMeter({ tasks: 1, cost: 1, lanes: 1 }, ({ elapsedMs }) => heard.push(elapsedMs))
  await meter.follow(async () => {
    await vi.advanceTimersByTimeAsync(1000)
    meter.step(1, 1, 1000)
  })
  expect(heard).toEqual([0, 250, 500, 750, 1000, 1000])
  expect(vi.getTimerCount()).toBe(0)
})

test('what the function throws at a tick comes out with the next task; at the start, before any work', async () => {
  const failure = new Error('from the callback')
  const meter = new ProgressMeter({ tasks: 1, cost: 1, lanes: 1 }, ({ elapsedMs }) => {
    if (elapsedMs > 0) throw failure
  })
  const run = async (): Promise<void> => {
    await vi.advanceTimersByTimeAsync(600)
    meter.step(1, 1, 600)
  }
  await expect(meter.follow(run)).rejects.toBe(failure)
  expect(vi.getTimerCount()).toBe(0)
  const work = vi.fn(() => Promise.resolve())
  const failing = new ProgressMeter({ tasks: 1, cost: 1, lanes: 1 }, () => {
    throw failure
  })
  await expect(failing.follow(work)).rejects.toBe(failure)
  expect(work).not.toHaveBeenCalled()
})
