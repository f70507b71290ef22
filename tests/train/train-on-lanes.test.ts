import type { Runtime } from 'heddle'
import { CausalLanguageModel } from 'heddle/nn'
import { AdamW, crossEntropy, lossAndGradients, train, type TrainOptions, type TrainStep } from 'heddle/train'
import { describe, expect, it } from 'vitest'
import { useRuntime, withRuntime } from '../support/runtimes.ts'
import { fingerprint } from '../support/tensors.ts'

/** 1,623,552 parameters: enough for lanes to update them. */
const made = (): CausalLanguageModel =>
  new CausalLanguageModel({ vocabulary: 48, modelDim: 256, heads: 4, layers: 2, seed: 3 })
const runtime = useRuntime({ workers: 2, backend: 'wasm' })

const shape = [2, 16]
const batch = (index: number) => ({
  tokens: { data: Int32Array.from({ length: 32 }, (_, place) => (place * 7 + index) % 48), shape },
  targets: { data: Int32Array.from({ length: 32 }, (_, place) => (place * 7 + index + 7) % 48), shape },
})

async function trained(
  own: Runtime,
  more: Partial<TrainOptions> = {},
): Promise<{ readonly steps: TrainStep[]; readonly bits: string[] }> {
  const model = made()
  const steps: TrainStep[] = []
  const options = { data: batch, loss: crossEntropy(), optimizer: new AdamW(model), steps: 3, clipNorm: 0.1 }
  for await (const step of train(model, { ...options, runtime: own, ...more })) steps.push(step)
  return { steps, bits: model.parameters().map(({ data }) => fingerprint(data)) }
}

describe('training a model of more than a million parameters', () => {
  it('updates it on the lanes where they share memory with it, with the same bits', async () => {
    const { steps, bits } = await trained(runtime())
    for (const { update } of steps) {
      expect(update).toMatchObject({ thread: 'worker', retries: 0 })
      expect(update?.elapsedMs).toBeGreaterThan(0)
    }
    for (const options of [{ workers: 0 }, { workers: 2, sharedMemory: 'never' }] as const)
      await withRuntime({ ...options, backend: 'wasm' }, async (own) => {
        const other = await trained(own)
        expect(other.bits).toEqual(bits)
        expect(other.steps.map(({ loss, gradientNorm }) => [loss, gradientNorm])).toEqual(
          steps.map(({ loss, gradientNorm }) => [loss, gradientNorm]),
        )
        for (const { update } of other.steps) expect(update).toMatchObject({ thread: 'caller', lanes: [] })
      })
  })

  it('resumes with the same bits, with steps of several batches', async () => {
    const whole = await trained(runtime(), { accumulate: 2 })
    const first = await trained(runtime(), { accumulate: 2, steps: 1 })
    const resume = first.steps[0]?.checkpoint() ?? new Uint8Array()
    expect((await trained(runtime(), { accumulate: 2, resume })).bits).toEqual(whole.bits)
  })

  it('keeps gradients in shared memory only where that was asked for', async () => {
    const model = made()
    const of = async (sharedGradients: boolean) => {
      const { gradients } = await lossAndGradients(model, batch(0), {
        loss: crossEntropy(),
        runtime: runtime(),
        sharedGradients,
      })
      return [...gradients.values()].map(({ data }) => data)
    }
    const [plain, shared] = [await of(false), await of(true)]
    expect(plain.every(({ buffer }) => buffer instanceof ArrayBuffer)).toBe(true)
    expect(shared.every(({ buffer }) => buffer instanceof SharedArrayBuffer)).toBe(true)
    expect(shared.map((data) => fingerprint(data))).toEqual(plain.map((data) => fingerprint(data)))
  })
})
