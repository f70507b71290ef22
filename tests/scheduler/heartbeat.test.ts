import { describe, expect, it } from 'vitest'
import { WorkerLostError } from '../../src/core/errors.ts'
import { FakeLane } from './fake-lane.ts'
import { makeJob, makePool, settle } from './fake-pool.ts'

describe('the heartbeat', () => {
  it('beats while a lane has work, and not longer', async () => {
    const { pool, lanes, isBeating } = makePool(2)
    await pool.open()
    expect(isBeating()).toBe(false)
    const run = pool.run(makeJob([1, 1]))
    await settle()
    expect(isBeating()).toBe(true)
    lanes[0]?.finish()
    await settle()
    expect(isBeating()).toBe(true)
    lanes[1]?.finish()
    await run
    await settle()
    expect(isBeating()).toBe(false)
    await pool.close()
  })

  it('asks lanes that have work only, and leaves alone those that answer', async () => {
    const { pool, lanes, beat } = makePool(2)
    await pool.open()
    const run = pool.run(makeJob([1]))
    await settle()
    await beat(100)
    expect(lanes.map(({ pings }) => pings)).toEqual([100, 0])
    lanes[0]?.finish()
    expect((await run).retries).toBe(0)
    await pool.close()
  })

  it('counts a lane as lost that misses eight beats in a row, and gives its task to another', async () => {
    const { pool, lanes, beat } = makePool(1)
    await pool.open()
    const run = pool.run(makeJob([1]))
    await settle()
    lanes[0]!.answers = false
    await beat(8)
    expect(lanes[0]?.alive).toBe(true)
    await beat()
    expect(lanes[0]?.alive).toBe(false)
    lanes[1]?.finish()
    expect((await run).retries).toBe(1)
    await pool.close()
  })

  it('takes a late answer and a result as signs of life', async () => {
    const { pool, lanes, beat } = makePool(1)
    await pool.open()
    const run = pool.run(makeJob([1, 1, 1]))
    await settle()
    lanes[0]!.answers = false
    for (let task = 0; task < 2; task++) {
      await beat(7)
      lanes[0]?.finish()
      await settle()
    }
    await beat(7)
    expect(lanes[0]?.alive).toBe(true)
    lanes[0]?.finish()
    expect((await run).retries).toBe(0)
    await pool.close()
  })

  it('forgets the beats that were missed before an answer that came late', async () => {
    const { pool, lanes, beat } = makePool(1)
    await pool.open()
    const run = pool.run(makeJob([1]))
    await settle()
    let answer = (): void => undefined
    lanes[0]!.ping = () => new Promise((resolve) => (answer = resolve))
    for (let round = 0; round < 3; round++) {
      await beat(6)
      answer()
      await settle()
    }
    expect(lanes[0]?.alive).toBe(true)
    lanes[0]?.finish()
    expect((await run).retries).toBe(0)
    await pool.close()
  })

  it('ends with WorkerLostError where every worker falls silent', async () => {
    const { pool, beat } = makePool(1, () => Object.assign(new FakeLane(), { answers: false }))
    await pool.open()
    const failure = pool.run(makeJob([1])).catch((error: unknown) => error)
    await settle()
    await beat(40)
    const error = await failure
    expect(error).toBeInstanceOf(WorkerLostError)
    expect((error as Error).cause).toMatchObject({ message: 'the worker gave no sign of life for 8 s' })
    await pool.close()
  })
})

describe('a lane that does not acknowledge a cancel', () => {
  it('gets no more work, and is replaced', async () => {
    const { pool, lanes, beat } = makePool(1)
    await pool.open()
    const controller = new AbortController()
    const cancelled = pool.run(makeJob([1], { signal: controller.signal })).catch(() => undefined)
    await settle()
    controller.abort()
    await cancelled
    await beat(2)
    const run = pool.run(makeJob([1], { isPass: true }))
    await settle()
    expect(lanes[0]?.running).toBe(1)
    await beat(6)
    expect(lanes).toHaveLength(1)
    await beat()
    expect(lanes).toHaveLength(2)
    expect(lanes[0]?.alive).toBe(false)
    lanes[1]?.finish()
    expect((await run).retries).toBe(0)
    await pool.close()
  })

  it('gets work again where it acknowledges late', async () => {
    const { pool, lanes, beat } = makePool(1)
    await pool.open()
    const controller = new AbortController()
    const cancelled = pool.run(makeJob([1], { signal: controller.signal })).catch(() => undefined)
    await settle()
    controller.abort()
    await cancelled
    await beat(4)
    const run = pool.run(makeJob([1]))
    await settle()
    lanes[0]?.finish() // the cancelled one
    await beat()
    lanes[0]?.finish()
    await run
    expect(lanes).toHaveLength(1)
    await pool.close()
  })
})

describe('a worker that never answers its start', () => {
  it('does not hold up the others: the pool is open when the first lane is ready', async () => {
    const { pool, lanes } = makePool(2, () => new FakeLane(lanes.length === 0 ? 'mute' : undefined))
    await pool.open()
    const job = makeJob([1, 1])
    const run = pool.run(job)
    for (let task = 0; task < 2; task++) {
      await settle()
      lanes[1]?.finish()
    }
    expect((await run).fallbacks).toEqual([])
    expect(job.done).toHaveLength(2)
    await pool.trim()
    expect(lanes.map(({ alive }) => alive)).toEqual([false, false])
    await pool.close()
  })
})
