import { describe, expect, it, vi } from 'vitest'
import { OptionError } from '../../src/core/errors.ts'
import { PoolEvents, type RuntimeEventName, type RuntimeEvents } from '../../src/scheduler/pool-events.ts'
import { FakeLane } from './fake-lane.ts'
import { makeJob, makePool, settle } from './fake-pool.ts'

interface Heard {
  readonly name: RuntimeEventName
  readonly event: RuntimeEvents[RuntimeEventName]
}

function listening(): { readonly events: PoolEvents; readonly heard: Heard[] } {
  const events = new PoolEvents()
  const heard: Heard[] = []
  for (const name of ['lane', 'retry', 'fallback', 'task'] as const)
    events.on(name, (event) => heard.push({ name, event }))
  return { events, heard }
}

const lane = (index: number) => ({ lane: index, kind: 'wasm', thread: 'worker' })

describe('events of a pool', () => {
  it('tell of lanes that start, work, are lost and stop, and of tasks that go to another', async () => {
    const { events, heard } = listening()
    const { pool, lanes } = makePool(2, undefined, events)
    await pool.open()
    await settle()
    expect(heard.splice(0)).toEqual(
      [0, 1].map((index) => ({ name: 'lane', event: { ...lane(index), state: 'ready' } })),
    )

    const running = pool.run(makeJob([1]))
    lanes[0]!.die(new Error('killed'))
    await settle()
    expect(heard.splice(0)).toEqual([
      { name: 'lane', event: { ...lane(0), state: 'lost', reason: 'killed' } },
      { name: 'retry', event: { ...lane(0), tasks: 1, reason: 'killed' } },
    ])

    lanes[1]!.finish()
    await running
    const task = heard.find(({ name }) => name === 'task')?.event as RuntimeEvents['task']
    expect(task).toMatchObject({ ...lane(1), tasks: 1 })
    expect(task.endMs - task.startMs).toBeCloseTo(1, 9)
    heard.length = 0

    await pool.close()
    expect(heard).toContainEqual({ name: 'lane', event: { ...lane(1), state: 'stopped' } })
  })

  it('tell of lanes that cannot start, and of what runs without them', async () => {
    const { events, heard } = listening()
    let made = 0
    const make = () => new FakeLane(made++ === 0 ? undefined : new Error('no more threads'))
    const { pool, lanes } = makePool(2, make, events)
    await pool.open()
    const running = pool.run(makeJob([1]))
    await settle()
    lanes[0]!.finish()
    await running
    expect(heard).toContainEqual({ name: 'lane', event: { ...lane(1), state: 'failed', reason: 'no more threads' } })
    expect(heard).toContainEqual({
      name: 'fallback',
      event: { what: 'no lane 1 (wasm)', reason: 'no more threads' },
    })
    await pool.close()
  })
})

describe('listeners', () => {
  const fallback = { what: 'a', reason: 'b' }

  it('hear nothing any more after they ended, each by itself', () => {
    const events = new PoolEvents()
    const listener = vi.fn()
    const stop = events.on('fallback', listener)
    events.on('fallback', listener)
    events.tell('fallback', () => fallback)
    expect(listener).toHaveBeenCalledTimes(2)
    stop()
    stop()
    events.tell('fallback', () => fallback)
    expect(listener).toHaveBeenCalledTimes(3)
  })

  it('cost nothing where there are none: no event is made', () => {
    const events = new PoolEvents()
    const make = vi.fn(() => fallback)
    events.on('lane', () => undefined)
    events.on('fallback', () => undefined)()
    events.tell('fallback', make)
    expect(make).not.toHaveBeenCalled()
  })

  it('that throw are reported as uncaught, and the others hear all the same', () => {
    const reported: (() => void)[] = []
    vi.stubGlobal('queueMicrotask', (report: () => void) => reported.push(report))
    const events = new PoolEvents()
    const listener = vi.fn()
    events.on('fallback', () => {
      throw new Error('from the listener')
    })
    events.on('fallback', listener)
    events.tell('fallback', () => fallback)
    vi.unstubAllGlobals()
    expect(listener).toHaveBeenCalledWith(fallback)
    expect(reported).toHaveLength(1)
    expect(reported[0]).toThrow('from the listener')
  })

  it('have a known name and are functions', () => {
    const events = new PoolEvents()
    expect(() => events.on('lanes' as never, () => undefined)).toThrow(OptionError)
    expect(() => events.on('lane', 1 as never)).toThrow(/runtime\.on: listener: expected a function, got number 1/)
  })
})
