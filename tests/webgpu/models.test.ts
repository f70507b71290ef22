import { readFileSync } from 'node:fs'
import { createRuntime, type Runtime, type Tensor } from 'heddle'
import { EmbeddingModel, loadModel } from 'heddle/models'
import { Module, pool, readSafetensors, type Graph, type LayerReport, type RowPooling, type Value } from 'heddle/nn'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { expectedCases, folderOf, tokensOf } from '../models/support/hub-folders.ts'
import { worst } from '../nn/worst.ts'
import { skipReason, testGpu } from './support/software-gpu.ts'

const found = await testGpu()
const host = globalThis as { [key: symbol]: unknown }
host[Symbol.for('heddle.webgpu')] = found.gpu

/** Float32 through up to four blocks, of values up to about 5, with another order of sums than wasm's. */
const TOLERANCE = 1e-5

interface PoolingFixture {
  readonly shape: readonly [number, number, number]
  readonly rows: readonly number[]
  readonly segments: readonly number[]
  readonly cases: readonly { readonly pooling: RowPooling; readonly count: number; readonly vectors: number[] }[]
}

const pooling = JSON.parse(readFileSync(new URL('../fixtures/pooling.json', import.meta.url), 'utf8')) as PoolingFixture

class Pooled extends Module<Float32Array> {
  readonly inputDim = pooling.shape[2]

  constructor(
    readonly pooling: RowPooling,
    readonly count: number,
  ) {
    super()
  }

  override build(graph: Graph, input: Value): Value {
    const numbers = Int32Array.from(pooling.segments)
    return pool(graph, input, this.pooling, this.count === 1 ? {} : { count: this.count, numbers })
  }
}

/** What has no kernel for the device: a comparison per element costs less than the way there. */
const fallbacksOf = (name: RowPooling) =>
  name === 'max' ? [{ what: 'max-rows on wasm in place of webgpu', reason: 'there are no WebGPU kernels for it' }] : []

describe.skipIf(skipReason(found) !== undefined)('models over a GPU lane', { timeout: 120_000 }, () => {
  let runtime: Runtime

  beforeAll(async () => {
    runtime = await createRuntime({ workers: 0, backend: 'webgpu' })
  })

  afterAll(() => runtime.close())

  // Small models run on wasm on the calling thread, unless a size of chunks is asked for.
  const onLane = () => ({ runtime, chunkSize: 16 })

  function expectGpu(report: LayerReport, fallbacks: LayerReport['fallbacks'] = []): void {
    expect(new Set(report.lanes.map(({ kind }) => kind))).toEqual(new Set(['webgpu']))
    expect(report.fallbacks).toEqual(fallbacks)
    expect(report.memory.peakBytes).toBeLessThanOrEqual(report.plan.totalBytes)
  }

  describe('pooling', () => {
    test.each(pooling.cases.map((each) => [each.pooling, each.count, each.vectors] as const))(
      '%s of %i segments: the vectors are PyTorch’s',
      async (name, count, vectors) => {
        const rows: Tensor = { data: Float32Array.from(pooling.rows), shape: pooling.shape }
        const { output, report } = await new Pooled(name, count).forward(rows, onLane())
        expect(worst(output.data, vectors)).toBeLessThan(TOLERANCE)
        expectGpu(report, fallbacksOf(name))
      },
    )

    test.each<RowPooling>(['mean', 'max'])('%s as the last part of a model, packed', async (name) => {
      const model = new EmbeddingModel((await loadModel(folderOf('bert'))).transformer, { pooling: name })
      const tokens = tokensOf(Array.from({ length: 40 }, (_, at) => 2 + ((at * 7) % 28)))
      const segments = tokensOf(Array.from({ length: 40 }, (_, at) => (at < 3 ? -1 : Math.floor(at / 14))))
      const { output, report } = await model.forward(tokens, { segments, ...onLane() })
      const wasm = await createRuntime({ workers: 0, backend: 'wasm' })
      const expected = await model.forward(tokens, { segments, runtime: wasm })
      await wasm.close()
      expect(worst(output.data, expected.output.data)).toBeLessThan(TOLERANCE)
      expectGpu(report, fallbacksOf(name))
    })
  })

  // Norms over heads, grouped heads of another size than E/H, gated feed-forward; rotary scalings; a window; a scale
  // and a cap of logits.
  test.each(['qwen3', 'llama', 'llama-linear', 'mistral', 'llama-logits'])(
    '%s: hidden rows and logits are PyTorch’s',
    async (name) => {
      const model = await loadModel(folderOf(name))
      for (const { ids, lastHiddenState, logits } of expectedCases(name)) {
        const hidden = await model.transformer.forward(tokensOf(ids), onLane())
        expect(worst(hidden.output.data, lastHiddenState.flat())).toBeLessThan(TOLERANCE)
        expectGpu(hidden.report)
        const { output, report } = await model.languageModel!.forward(tokensOf(ids), onLane())
        expect(worst(output.data, logits!.flat())).toBeLessThan(TOLERANCE)
        expectGpu(report)
      }
    },
  )

  test('gradients run on wasm, are PyTorch’s, stay within their plan, and the report says so', async () => {
    const { transformer } = await loadModel(folderOf('qwen3'))
    const { ids } = expectedCases('qwen3').at(-1)!
    const bytes = Uint8Array.from(readFileSync(`${folderOf('qwen3')}/gradients.safetensors`))
    const { dHidden, ...expected } = (await readSafetensors(bytes)).tensors
    const dOutput = { data: dHidden!.data as Float32Array, shape: [1, ...dHidden!.shape] }
    for (let call = 0; call < 2; call++) {
      const { gradients, report } = await transformer.backward(tokensOf(ids), dOutput, onLane())
      // Sums over 23 rows in another order than float64's, of gradients up to about 10.
      for (const [name, { data }] of Object.entries(expected))
        expect(worst(gradients.get(name.replace(/^model\./, ''))!.data, data), name).toBeLessThan(1e-4)
      expectGpu(report, [
        { what: 'gradients on wasm in place of webgpu', reason: 'there are no WebGPU kernels for it' },
        { what: 'attention backward on wasm in place of webgpu', reason: 'there are no WebGPU kernels for it' },
      ])
    }
  })
})
