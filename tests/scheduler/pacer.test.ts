import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Pacer, takeTurn } from '../../src/scheduler/pacer.ts'

let nowMs = 0
beforeEach(() => void vi.spyOn(performance, 'now').mockImplementation(() => nowMs))
afterEach(() => void vi.restoreAllMocks())

test('a turn is due 15 ms after the last one, for all tasks of the thread', async () => {
  await takeTurn()
  const first = new Pacer(() => false)
  nowMs += 14
  const second = new Pacer(() => false)
  expect([first.pace(), second.pace()]).toEqual([undefined, undefined])
  nowMs += 1
  const turn = first.pace()
  expect([turn, second.pace()]).toEqual([expect.any(Promise), expect.any(Promise)])
  await turn
  expect([first.pace(), second.pace()]).toEqual([undefined, undefined])
})

test('a turn lets messages through, and tells a cancelled task from one that goes on', async () => {
  let cancelled = false
  const pacer = new Pacer(() => cancelled)
  nowMs += 15
  const seen: string[] = []
  setImmediate(() => seen.push('message'))
  await pacer.pace()
  expect(seen).toEqual(['message'])
  nowMs += 15
  const turn = pacer.pace()
  cancelled = true
  await expect(turn).rejects.toMatchObject({ name: 'TaskCancelled' })
})
