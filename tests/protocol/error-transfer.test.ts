import { expose, transferHandlers, wrap } from 'comlink'
import type * as heddleItself from 'heddle'
import { cp, rm } from 'node:fs/promises'
import { Worker } from 'node:worker_threads'
import { afterAll, describe, expect, it } from 'vitest'
import { MemoryBudgetError, ShapeError } from '../../src/core/errors.ts'
import { installErrorTransfer, ownError } from '../../src/protocol/error-transfer.ts'
import { workerFile } from '../support/runtimes.ts'

/** Comlink’s own, before it is replaced. */
const plain = transferHandlers.get('throw')

/** Sends a thrown value through Comlink over a real message channel. */
async function through(thrown: unknown): Promise<unknown> {
  installErrorTransfer()
  const { port1, port2 } = new MessageChannel()
  expose(
    {
      fail: () => {
        throw thrown
      },
    },
    port1,
  )
  const remote = wrap<{ fail(): void }>(port2)
  try {
    return await remote.fail().then(
      () => undefined,
      (error: unknown) => error,
    )
  } finally {
    port1.close()
    port2.close()
  }
}

describe('errors across threads', () => {
  it('keep class, code, details and cause', async () => {
    const error = await through(
      new MemoryBudgetError('expected more', { cause: new RangeError('refused'), details: { smallestBudgetBytes: 7 } }),
    )
    expect(error).toBeInstanceOf(MemoryBudgetError)
    expect(error).toMatchObject({
      code: 'MemoryBudgetError',
      message: 'expected more',
      details: { smallestBudgetBytes: 7 },
      smallestBudgetBytes: 7,
    })
    expect((error as Error).cause).toMatchObject({ name: 'RangeError', message: 'refused' })
  })

  it('keep a foreign error’s name, message and stack', async () => {
    // A stack that no error made here would have.
    const thrown = Object.assign(new TypeError('odd'), { stack: 'TypeError: odd\n    at worker.js:7:1' })
    const error = await through(thrown)
    expect(error).toBeInstanceOf(Error)
    expect(error).toMatchObject({ name: 'TypeError', message: 'odd', stack: thrown.stack })
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
    expect(thrownBy(() => plain.deserialize(ours.serialize(marked)[0]))).toMatchObject({
      name: 'ShapeError',
      message: 'expected [2], got [3]',
      code: 'ShapeError',
    })
    expect(thrownBy(() => ours.deserialize(plain.serialize({ value: new TypeError('odd') })[0]))).toMatchObject({
      name: 'TypeError',
      message: 'odd',
    })
    expect(await through(new TypeError('odd'))).toMatchObject({ name: 'TypeError' })
  })

  it('do not depend on a subclass of the error being known to Comlink', async () => {
    expect(await through(new ShapeError('expected [2], got [3]'))).toBeInstanceOf(ShapeError)
  })
})

describe('the handler', () => {
  it('is installed once, however often lanes start', () => {
    installErrorTransfer()
    const installed = transferHandlers.get('throw')
    for (let start = 0; start < 20_000; start++) installErrorTransfer()
    expect(transferHandlers.get('throw')).toBe(installed)
    expect(installed?.canHandle({ value: new Error('no mark') })).toBe(false)
  })

  it('does not pile up where something else replaces it again and again', async () => {
    installErrorTransfer()
    const ours = transferHandlers.get('throw')!
    for (let turn = 0; turn < 20_000; turn++) {
      transferHandlers.set('throw', plain!)
      installErrorTransfer()
    }
    expect(transferHandlers.get('throw')).toBe(ours)
    expect(await through(new ShapeError('expected [2], got [3]'))).toBeInstanceOf(ShapeError)
  })

  it('of another copy passes this copy’s errors on with their code, and they get this copy’s class again', () => {
    const foreign = Object.assign(new Error('expected [2], got [3]'), {
      name: 'ShapeError',
      code: 'ShapeError',
      details: { rank: 1 },
    })
    const own = ownError(foreign)
    expect(own).toBeInstanceOf(ShapeError)
    expect(own).toMatchObject({ message: 'expected [2], got [3]', details: { rank: 1 }, stack: foreign.stack })
    const other = Object.assign(new Error('gone'), { code: 'ENOENT' })
    expect(ownError(other)).toBe(other)
  })
})

const folder = new URL('../../build/second-copy/', import.meta.url)
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('two copies of Heddle in one thread', () => {
  it('install one handler, and each gets errors of its own classes from its workers', async () => {
    await cp(new URL('../../dist/', import.meta.url), new URL('dist/', folder), { recursive: true })
    const copies = [
      await import('heddle'),
      (await import(new URL('dist/index.js', folder).href)) as typeof heddleItself,
    ] as const
    expect(copies[1].ProtocolError).not.toBe(copies[0].ProtocolError)
    const handlers = new Set<unknown>()
    // A worker that finds no SIMD refuses to start, in its own words.
    const code = `WebAssembly.validate = () => false; import(${JSON.stringify(workerFile.href)})`
    const workerFactory = () => new Worker(new URL(`data:text/javascript,${encodeURIComponent(code)}`))
    for (const heddle of [...copies, ...copies]) {
      const runtime = await heddle.createRuntime({ workers: 1 })
      handlers.add(transferHandlers.get('throw'))
      await runtime.close()
      const refusal: unknown = await heddle.createRuntime({ workers: 1, workerFactory }).then(
        (opened) => opened.close(),
        (error: unknown) => error,
      )
      expect(refusal).toBeInstanceOf(heddle.BackendUnavailableError)
    }
    expect(handlers.size).toBe(1)
  })
})
