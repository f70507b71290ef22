import { expose, transferHandlers, wrap } from 'comlink'
import { describe, expect, it } from 'vitest'
import { MemoryBudgetError, ShapeError } from '../../src/core/errors.ts'
import { installErrorTransfer } from '../../src/protocol/error-transfer.ts'

/** Comlink’s own, before it is replaced. */
const plain = transferHandlers.get('throw')

/** Sends a thrown value through Comlink over a real message channel. */
async function through(thrown: unknown): Promise<unknown> {
  installErrorTransfer()
  const { port1, port2 } = new MessageChannel()
  expose({ fail: () => { throw thrown } }, port1)
  const remote = wrap<{ fail(): void }>(port2)
  try {
    return await remote.fail().then(() => undefined, (error: unknown) => error)
  } finally {
    port1.close()
    port2.close()
  }
}

describe('errors across threads', () => {
  it('keep class, code, details and cause', async () => {
    const error = await through(new MemoryBudgetError('expected more', { cause: new RangeError('refused'), details: { smallestBudgetBytes: 7 } }))
    expect(error).toBeInstanceOf(MemoryBudgetError)
    expect(error).toMatchObject({ code: 'MemoryBudgetError', message: 'expected more', details: { smallestBudgetBytes: 7 }, smallestBudgetBytes: 7 })
    expect((error as Error).cause).toMatchObject({ name: 'RangeError', message: 'refused' })
  })

  it('keep a foreign error’s name, message and stack', async () => {
    const error = await through(new TypeError('odd'))
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({ name: 'TypeError', message: 'odd' })
    expect((error as Error).stack).toContain('error-transfer.test')
  })

  it('pass plain values, and the text of what cannot be cloned', async () => {
    expect(await through({ a: 1 })).toEqual({ a: 1 })
    expect(await through(Symbol('x'))).toBe('Symbol(x)')
  })

  it('stay readable for the page’s own workers, whose other side has Comlink’s handler', async () => {
    installErrorTransfer()
    const ours = transferHandlers.get('throw')
    if (plain === undefined || ours === undefined) throw new Error('comlink has no throw handler')
    const thrownBy = (run: () => unknown): unknown => {
      try {
        return run()
      } catch (error) {
        return error
      }
    }
    const marked = { value: new ShapeError('expected [2], got [3]') }
    expect(thrownBy(() => plain.deserialize(ours.serialize(marked)[0]))).toMatchObject({ name: 'ShapeError', message: 'expected [2], got [3]', code: 'ShapeError' })
    expect(thrownBy(() => ours.deserialize(plain.serialize({ value: new TypeError('odd') })[0]))).toMatchObject({ name: 'TypeError', message: 'odd' })
    expect(await through(new TypeError('odd'))).toMatchObject({ name: 'TypeError' })
  })

  it('do not depend on a subclass of the error being known to Comlink', async () => {
    expect(await through(new ShapeError('expected [2], got [3]'))).toBeInstanceOf(ShapeError)
  })
})
