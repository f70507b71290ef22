import { afterEach, describe, expect, it } from 'vitest'
import { autoLaneKinds, forgetAutoBackend } from '../../src/attention/auto-backend.ts'
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
    expect(await autoLaneKinds({}, host, timer(5, 30).time)).toEqual(['webgpu', 'wasm', 'wasm', 'wasm'])
  })

  it('leaves a slower GPU, one that fails, and one in software', async () => {
    expect(await autoLaneKinds({}, host, timer(50, 30).time)).toBeUndefined()
    forgetAutoBackend()
    expect(await autoLaneKinds({}, host, () => Promise.reject(new Error('lost')))).toBeUndefined()
    forgetAutoBackend()
    const software = { ...host, webgpu: { ...host.webgpu, fallback: true } }
    expect(await autoLaneKinds({}, software, timer(5, 30).time)).toBeUndefined()
  })

  it('measures once and remembers', async () => {
    const first = timer(5, 30)
    await Promise.all([autoLaneKinds({}, host, first.time), autoLaneKinds({}, host, first.time)])
    expect(first.calls).toEqual(['webgpu', 'wasm'])
    const second = timer(50, 30)
    expect(await autoLaneKinds({}, host, second.time)).toContain('webgpu')
    expect(second.calls).toEqual([])
  })

  it('does not measure where the user has chosen, or wants the same bits everywhere', async () => {
    const { calls, time } = timer(5, 30)
    for (const options of [{ backend: 'wasm' }, { workers: 2 }, { numerics: 'portable' }] as const) expect(await autoLaneKinds(options, host, time)).toBeUndefined()
    expect(calls).toEqual([])
  })
})
