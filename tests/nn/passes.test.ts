import { TransformerEncoder } from 'heddle/nn'
import { expect, test } from 'vitest'
import { Random } from '../support/random.ts'
import { allLanes, turns, withRuntime } from '../support/runtimes.ts'
import { fingerprint, normalTensor } from '../support/tensors.ts'

const layer = new TransformerEncoder({ modelDim: 64, heads: 4, layers: 2 })
const x = normalTensor(new Random(78), [2, 1500, 64])
const options = { causal: true, chunkSize: 128 }

test('no more lanes take part than there are chunks', async () => {
  await withRuntime({ workers: 3 }, async (runtime) => {
    await allLanes(runtime)
    const lanes = async (batch: number, rows: number, chunkSize: number): Promise<number> => {
      const input = { data: x.data.subarray(0, batch * rows * 64), shape: [batch, rows, 64] }
      const { output, report } = await layer.forward(input, { runtime, chunkSize })
      expect(output.shape).toEqual(input.shape)
      return report.lanes.length
    }
    expect(await lanes(1, 100, 100)).toBe(1)
    expect(await lanes(2, 100, 100)).toBe(2)
    expect(await lanes(2, 100, 50)).toBe(3)
    expect(await lanes(0, 100, 50)).toBe(0)
    expect(await lanes(2, 0, 50)).toBe(0)
  })
})

test('a pass that is looked at between its stages has the same bits', async () => {
  await withRuntime({ workers: 2 }, async (runtime) => {
    const steps: string[] = []
    const watched = await layer.forward(x, {
      runtime,
      ...options,
      trace: ({ layer: path, step }) => steps.push(`${path} ${step}`),
    })
    const alone = await layer.forward(x, { runtime, ...options })
    expect(fingerprint(watched.output.data)).toBe(fingerprint(alone.output.data))
    expect(steps.length).toBeGreaterThan(10)
    expect(watched.report.lanes.length).toBeGreaterThan(alone.report.lanes.length)
  })
})

test.each([0, 2])(
  'passes at once on %i workers, one of them aborted: each has the bits that it has alone, and attention comes in between',
  async (workers) => {
    await withRuntime({ workers }, async (runtime) => {
      const expected = fingerprint((await layer.forward(x, { runtime, ...options })).output.data)
      const controller = new AbortController()
      const reason = new Error('enough')
      const passes = [1, 2].map(async () => fingerprint((await layer.forward(x, { runtime, ...options })).output.data))
      const aborted = layer
        .forward(x, { runtime, ...options, signal: controller.signal })
        .catch((error: unknown) => error)
      const order: string[] = []
      const attended = runtime
        .attention({ query: x, key: x, value: x }, { window: { before: 8, after: 8 } })
        .then(() => order.push('attention'))
      void turns(3).then(() => controller.abort(reason))
      expect(await aborted).toBe(reason)
      expect(await Promise.all(passes.map((pass) => pass.finally(() => order.push('pass'))))).toEqual([
        expected,
        expected,
      ])
      await attended
      // Where the lanes are other threads, who ends first depends on when this one is awake to send the chunks.
      expect(order.indexOf('attention')).toBeLessThan(workers === 0 ? 1 : 2)
    })
  },
)
