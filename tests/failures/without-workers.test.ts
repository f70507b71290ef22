import type * as heddle from 'heddle'
import { cp, rm } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import {
  attention,
  BackendUnavailableError,
  closeDefaultRuntime,
  configureDefaultRuntime,
  createRuntime,
  OptionError,
  tensor,
} from 'heddle'
import { afterEach, describe, expect, it } from 'vitest'

const same = tensor(new Float32Array(300 * 8), [300, 8])
const inputs = { query: same, key: same, value: tensor(new Float32Array(300 * 8).fill(3), [300, 8]) }
const noWorker = (): never => {
  throw new Error('no workers today')
}
const CALLING_THREAD = 'the calling thread in place of workers'

describe('a runtime where no worker starts', () => {
  it('computes on the calling thread, and says so in each report', async () => {
    const runtime = await createRuntime({ workerFactory: noWorker })
    try {
      expect(runtime.capabilities.workers).toBe(false)
      for (let call = 0; call < 2; call++) {
        const { output, report } = await runtime.attention(inputs, { chunkSize: 100 })
        expect(output.data.every((each) => Math.abs(each - 3) < 1e-6)).toBe(true)
        expect(report.transport).toBe('local')
        const [fallback] = report.fallbacks.filter(({ what }) => what === CALLING_THREAD)
        expect(fallback?.reason).toContain('no workers today')
      }
    } finally {
      await runtime.close()
    }
  })

  it('does not blame the file of the workers where the host has no GPU', async () => {
    // No driver is named to this process, so that there is no adapter but where the machine has a GPU.
    const outcome: unknown = await createRuntime({ backend: 'webgpu' }).catch((error: unknown) => error)
    if (!(outcome instanceof Error)) return (outcome as heddle.Runtime).close()
    expect(outcome).toBeInstanceOf(BackendUnavailableError)
    expect(outcome.message).toMatch(/^backend "webgpu": expected /)
    expect(outcome.message).not.toContain('worker.js')
  })

  it.each([{ workers: 2 }, { backend: { wasm: 2 } }, { backend: 'webgpu' }] as const)(
    'is an error where workers were asked for: %o',
    async (options) => {
      const error: unknown = await createRuntime({ ...options, workerFactory: noWorker }).catch(
        (thrown: unknown) => thrown,
      )
      expect(error).toBeInstanceOf(BackendUnavailableError)
      expect((error as Error).message).toContain('no workers today')
    },
  )
})

describe('a package whose worker file was lost', () => {
  const copy = fileURLToPath(new URL(`../../build/without-worker-${process.pid}`, import.meta.url))
  afterEach(() => rm(copy, { recursive: true, force: true }))

  it('starts workers from the text of the file', async () => {
    await cp(fileURLToPath(new URL('../../dist', import.meta.url)), copy, {
      recursive: true,
      filter: (file) => !/worker\.js$|\.d\.ts$/.test(file),
    })
    const lost = (await import(`${copy}/index.js`)) as typeof heddle
    const runtime = await lost.createRuntime({ workers: 2 })
    try {
      const { output, report } = await runtime.attention(inputs, { chunkSize: 100 })
      expect(output.data.every((each) => Math.abs(each - 3) < 1e-6)).toBe(true)
      expect(report.transport).toBe('shared')
      expect(report.fallbacks.map(({ what }) => what)).not.toContain(CALLING_THREAD)
    } finally {
      await runtime.close()
    }
    // GPU lanes have a file alone.
    const error: unknown = await lost.createRuntime({ backend: 'webgpu' }).catch((thrown: unknown) => thrown)
    expect(lost.BackendUnavailableError.is(error)).toBe(true)
    expect((error as Error).message).toMatch(/looked for at file:\/\/.*worker\.js\. Serve heddle\/worker .* workerUrl/)
  })
})

describe('configureDefaultRuntime', () => {
  afterEach(async () => {
    await closeDefaultRuntime()
    configureDefaultRuntime({})
  })

  it('gives the default runtime its options, until it has started', async () => {
    configureDefaultRuntime({ workers: 1, sharedMemory: 'never' })
    expect((await attention(inputs, { chunkSize: 100 })).report.transport).toBe('transfer')
    expect(() => configureDefaultRuntime({ workers: 2 })).toThrow(OptionError)
    await closeDefaultRuntime()
    configureDefaultRuntime({ workers: 0 })
    expect((await attention(inputs, { chunkSize: 100 })).report.transport).toBe('local')
  })

  it('refuses names that it does not know, at once', () => {
    expect(() => configureDefaultRuntime({ worker: 2 } as never)).toThrow(OptionError)
  })
})
