import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { abortReason, onAbort, throwIfAborted } from '../../src/core/abort.ts'
import { OldController } from '../support/old-abort-controller.ts'

describe('onAbort', () => {
  it('keeps one listener per signal, however many wait, and none when all have stopped', () => {
    const { signal } = new AbortController()
    const stops = Array.from({ length: 20 }, () => onAbort(signal, () => undefined))
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    stops.slice(1).forEach((stop) => stop())
    expect(getEventListeners(signal, 'abort')).toHaveLength(1)
    stops[0]?.()
    stops[0]?.()
    expect(getEventListeners(signal, 'abort')).toHaveLength(0)
  })

  it('tells each that waits, also the same function twice, and nobody who has stopped', () => {
    const controller = new AbortController()
    let heard = 0
    const listener = (): void => void heard++
    onAbort(controller.signal, listener)
    onAbort(controller.signal, listener)
    onAbort(controller.signal, listener)()
    controller.abort()
    expect(heard).toBe(2)
  })

  it('listens again after all had stopped, whatever an earlier one stops late', () => {
    const controller = new AbortController()
    let heard = 0
    const stop = onAbort(controller.signal, () => void heard++)
    stop()
    onAbort(controller.signal, () => void heard++)
    stop()
    controller.abort()
    expect(heard).toBe(1)
  })
})

describe('the reason of an abort', () => {
  it('is the signal’s own', () => {
    const reason = new Error('enough')
    expect(abortReason(AbortSignal.abort(reason))).toBe(reason)
    expect(() => throwIfAborted(AbortSignal.abort(reason))).toThrow(reason)
    expect(() => throwIfAborted(new AbortController().signal)).not.toThrow()
  })

  it('is an AbortError where the signal has none', () => {
    const controller = new OldController()
    expect(() => throwIfAborted(controller.signal)).not.toThrow()
    controller.abort()
    expect(() => throwIfAborted(controller.signal)).toThrow(expect.objectContaining({ name: 'AbortError' }) as Error)
  })
})
