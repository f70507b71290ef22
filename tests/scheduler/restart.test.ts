import { describe, expect, it } from 'vitest'
import { BackendUnavailableError, WorkerLostError } from '../../src/core/errors.ts'
import { FakeLane } from './fake-lane.ts'
import { makeJob, makePool, settle } from './fake-pool.ts'

describe('lanes that do not start again', () => {
  it.each([1, 2])(
    'gives up with WorkerLostError where %i lanes die and their successors die while they start, and works again after',
    async (count) => {
      let deadly = false
      const { pool, lanes } = makePool(count, () => new FakeLane(deadly ? 'dies' : undefined))
      await pool.open()
      const failure = pool.run(makeJob([1, 1])).catch((error: unknown) => error)
      await settle()
      deadly = true
      for (const lane of lanes.slice(0, count)) lane.die()
      const error = await failure
      expect(error).toBeInstanceOf(WorkerLostError)
      expect(error).toMatchObject({ details: { tries: 3 }, cause: { message: 'killed while it started' } })
      deadly = false
      const run = pool.run(makeJob([1]))
      await settle()
      for (const lane of lanes.slice(-count)) lane.finish()
      await run
      await pool.close()
    },
  )

  it('says that the host has no lanes where it refuses every one', async () => {
    let refuses = false
    const reason = new BackendUnavailableError('refused')
    const { pool, lanes } = makePool(1, () => new FakeLane(refuses ? reason : undefined))
    await pool.open()
    await pool.trim()
    refuses = true
    await expect(pool.run(makeJob([1]))).rejects.toBe(reason)
    expect(lanes.length).toBeGreaterThan(1)
    await pool.close()
  })

  it('fails to open where every lane dies while it starts: the backend is not available', async () => {
    await expect(makePool(2, () => new FakeLane('dies')).pool.open()).rejects.toMatchObject({
      code: 'BackendUnavailableError',
      message: expect.stringMatching(/killed while it started/) as string,
    })
  })
})
