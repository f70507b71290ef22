import { afterEach, describe, expect, it } from 'vitest'
import { chooseAutoLanes, forgetAutoBackend } from '../../src/attention/auto-backend.ts'
import type { Capabilities } from '../../src/attention/capabilities.ts'

const host: Capabilities = {
  simd: true,
  relaxedSimd: true,
  threads: true,
  workers: true,
  cores: 4,
  webgpu: { available: true, fallback: false, limits: null, info: null },
  reasons: {},
}

function timer(gpuMs: number, wasmMs: number): { calls: string[]; time: (kind: 'wasm' | 'webgpu') => Promise<number> } {
  const calls: string[] = []
  return {
    calls,
    time: (kind) => {
      calls.push(kind)
      return Promise.resolve(kind === 'webgpu' ? gpuMs : wasmMs)
    },
  }
}

describe('backend auto', () => {
  afterEach(forgetAutoBackend)

  it('takes a GPU that beats a wasm lane, beside wasm on the other cores', async () => {
    const reason = '2048 tokens took the GPU 5.0 ms, a wasm lane 30 ms'
    expect(await chooseAutoLanes({}, host, timer(5, 30).time)).toEqual({
      kinds: ['webgpu', 'wasm', 'wasm', 'wasm'],
      reason,
    })
  })

  it('leaves a slower GPU and one that fails, and says so', async () => {
    expect(await chooseAutoLanes({}, host, timer(50, 30).time)).toEqual({
      kinds: undefined,
      reason: '2048 tokens took the GPU 50 ms, a wasm lane 30 ms',
    })
    forgetAutoBackend()
    expect(await chooseAutoLanes({}, host, () => Promise.reject(new Error('lost')))).toEqual({
      kinds: undefined,
      reason: 'the GPU failed its first job: lost',
    })
  })

  it('does not measure an adapter in software, one that is not there, or for portable numerics', async () => {
    const { calls, time } = timer(5, 30)
    const software = { ...host, webgpu: { ...host.webgpu, fallback: true } }
    const none = {
      ...host,
      webgpu: { ...host.webgpu, available: false },
      reasons: { webgpu: 'the page is not secure' },
    }
    expect(await chooseAutoLanes({}, software, time)).toEqual({
      kinds: undefined,
      reason: 'the GPU adapter computes in software',
    })
    expect(await chooseAutoLanes({}, none, time)).toEqual({
      kinds: undefined,
      reason: 'no GPU (the page is not secure)',
    })
    expect(await chooseAutoLanes({ numerics: 'portable' }, host, time)).toEqual({
      kinds: undefined,
      reason: 'portable numerics leave GPUs out',
    })
    expect(calls).toEqual([])
  })

  it('measures once and remembers', async () => {
    const first = timer(5, 30)
    await Promise.all([chooseAutoLanes({}, host, first.time), chooseAutoLanes({}, host, first.time)])
    expect(first.calls).toEqual(['webgpu', 'wasm'])
    const second = timer(50, 30)
    expect((await chooseAutoLanes({}, host, second.time))?.kinds).toContain('webgpu')
    expect(second.calls).toEqual([])
  })

  it('chooses nothing where the user has chosen', async () => {
    const { calls, time } = timer(5, 30)
    for (const options of [{ backend: 'wasm' }, { workers: 2 }] as const)
      expect(await chooseAutoLanes(options, host, time)).toBeUndefined()
    expect(calls).toEqual([])
  })
})
