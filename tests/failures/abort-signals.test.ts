import { getEventListeners } from 'node:events'
import { tensor } from 'heddle'
import { CausalLanguageModel, Linear } from 'heddle/nn'
import { describe, expect, test } from 'vitest'
import { OldController } from '../support/old-abort-controller.ts'
import { useRuntime } from '../support/runtimes.ts'
import { filled } from '../support/tensors.ts'

const same = filled([1, 4, 400, 16], (at) => Math.sin(at))
const rows = filled([1, 400, 16], (at) => Math.cos(at))
const call = { query: same, key: same, value: same }

describe.each([0, 2])('%i workers', (workers) => {
  const runtime = useRuntime({ workers })

  test('eleven calls with one signal: one listener, no warning, none left', async () => {
    const { signal } = new AbortController()
    const warnings: unknown[] = []
    const onWarning = (warning: unknown): void => void warnings.push(warning)
    process.on('warning', onWarning)
    const calls = Array.from({ length: 11 }, () => runtime().attention(call, { signal, chunkSize: 50 }))
    await Promise.resolve()
    expect(getEventListeners(signal, 'abort').length).toBeLessThanOrEqual(1)
    await Promise.all(calls)
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', onWarning)
    expect(warnings).toEqual([])
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  test('a polyfill’s signal without reason and throwIfAborted: used, and aborted, before and during a call', async () => {
    const controller = new OldController()
    const { signal } = controller
    await runtime().attention(call, { signal })
    const pending = runtime()
      .attention(call, { signal, chunkSize: 8 })
      .then(
        () => 'no error',
        (error: unknown) => error,
      )
    await Promise.resolve()
    controller.abort()
    expect(await pending).toMatchObject({ name: 'AbortError' })
    await expect(runtime().attention(call, { signal })).rejects.toMatchObject({ name: 'AbortError' })
  })

  test('the same in layers and while text is generated', async () => {
    const controller = new OldController()
    const layer = new Linear(16, 16, { seed: 1 })
    const model = new CausalLanguageModel({
      vocabulary: 11,
      modelDim: 8,
      heads: 2,
      feedForwardDim: 16,
      layers: 1,
      seed: 1,
    })
    const prompt = tensor(Int32Array.of(1, 2), [1, 2])
    const options = { runtime: runtime(), signal: controller.signal }
    await layer.forward(rows, options)
    await model.generate(prompt, { ...options, maxNewTokens: 2 })
    controller.abort()
    await expect(layer.forward(rows, options)).rejects.toMatchObject({ name: 'AbortError' })
    await expect(model.generate(prompt, { ...options, maxNewTokens: 2 })).rejects.toMatchObject({ name: 'AbortError' })
  })
})
