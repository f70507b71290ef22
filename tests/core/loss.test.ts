import { describe, expect, it } from 'vitest'
import { Loss } from '../../src/core/loss.ts'

describe('a loss that calls are raced against', () => {
  it('leaves the outcome of a call alone', async () => {
    const loss = new Loss()
    await expect(loss.race(Promise.resolve(3))).resolves.toBe(3)
    await expect(loss.race(Promise.reject(new Error('its own')))).rejects.toThrow('its own')
  })

  it('rejects what waits and what comes later, with the first reason', async () => {
    const loss = new Loss()
    const waiting = loss.race(new Promise(() => undefined))
    loss.happen(new Error('gone'))
    loss.happen(new Error('again'))
    await expect(waiting).rejects.toThrow('gone')
    await expect(loss.race(Promise.resolve(3))).rejects.toThrow('gone')
    expect(loss.reason?.message).toBe('gone')
  })
})
