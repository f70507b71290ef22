import type { Runtime } from 'heddle'
import { CausalLanguageModel, TransformerBlock } from 'heddle/nn'
import { AdamW, crossEntropy, train } from 'heddle/train'
import { filled, fingerprint } from '../../tests/support/tensors.ts'

/** A call whose result has the same bits whatever happens to workers meanwhile. */
export interface Workload {
  readonly name: string
  readonly run: (runtime: Runtime, signal?: AbortSignal) => Promise<string>
}

const long = filled([2, 2500, 32], (at) => Math.sin(at * 1.7))
const rows = filled([1, 400, 32], (at) => Math.sin(at * 0.3))
const tokens = { data: Int32Array.from({ length: 2 * 48 }, (_, at) => (at * 7) % 29), shape: [2, 48] }
const block = new TransformerBlock({ modelDim: 32, heads: 4, feedForwardDim: 64, seed: 3 })
const withSignal = (signal: AbortSignal | undefined): { readonly signal?: AbortSignal } =>
  signal === undefined ? {} : { signal }

let attended: Promise<{ readonly output: typeof long; readonly logSumExp: typeof long }> | undefined

async function attentionBackward(runtime: Runtime, signal?: AbortSignal): Promise<string> {
  const inputs = { query: rows, key: rows, value: rows }
  attended ??= runtime
    .attention(inputs, { causal: true, returnLogSumExp: true })
    .then(({ output, logSumExp }) => ({ output, logSumExp: logSumExp }))
  const forward = await attended.catch((error: unknown) => {
    attended = undefined
    throw error
  })
  const { dQuery, dKey, dValue } = await runtime.attentionBackward(
    { ...inputs, ...forward, dOutput: rows },
    { causal: true, chunkSize: 40, ...withSignal(signal) },
  )
  return [dQuery, dKey, dValue].map(({ data }) => fingerprint(data)).join(' ')
}

async function blockBackward(runtime: Runtime, signal?: AbortSignal): Promise<string> {
  const { dInput, gradients } = await block.backward(rows, rows, { runtime, chunkSize: 50, ...withSignal(signal) })
  return [dInput!, ...gradients.values()].map(({ data }) => fingerprint(data)).join(' ')
}

/** Three steps of a small language model: the bits of its parameters afterwards. */
async function training(runtime: Runtime, signal?: AbortSignal): Promise<string> {
  const model = new CausalLanguageModel({
    vocabulary: 29,
    modelDim: 16,
    heads: 2,
    layers: 2,
    feedForwardDim: 32,
    maxLength: 48,
    seed: 5,
  })
  const optimizer = new AdamW(model, { learningRate: 1e-3 })
  const data = () => ({ tokens, targets: tokens })
  for await (const { loss } of train(model, {
    data,
    loss: crossEntropy(),
    optimizer,
    steps: 3,
    runtime,
    ...withSignal(signal),
  })) {
    if (!Number.isFinite(loss)) throw new Error(`expected a finite loss, got ${loss}`)
  }
  return [...model.namedParameters().values()].map((parameter) => fingerprint(parameter.data)).join(' ')
}

export const WORKLOADS: readonly Workload[] = [
  {
    name: 'attention',
    run: async (runtime, signal) =>
      fingerprint(
        (
          await runtime.attention(
            { query: long, key: long, value: long },
            { causal: true, chunkSize: 100, ...withSignal(signal) },
          )
        ).output.data,
      ),
  },
  {
    name: 'a block',
    run: async (runtime, signal) =>
      fingerprint((await block.forward(rows, { runtime, chunkSize: 50, ...withSignal(signal) })).output.data),
  },
  { name: 'attention backward', run: attentionBackward },
  { name: 'a block backward', run: blockBackward },
  { name: 'training steps', run: training },
]

const known = new Map<string, Promise<string>>()

/** The workload's bits, on a runtime that nothing happens to. */
export function bitsOf(workload: Workload, calm: Runtime): Promise<string> {
  const bits = known.get(workload.name) ?? workload.run(calm)
  known.set(workload.name, bits)
  return bits
}
