import { readFileSync } from 'node:fs'
import { createWasmBackend } from '../../src/backends/wasm/engine.ts'
import type { AttentionTask, TaskArray } from '../../src/protocol/task.ts'
import { oneNodeModel } from '../onnx/one-node-model.ts'
import { headsFirst, headsLast } from './heads.ts'
import { plainSettings } from './plain-settings.ts'

/** Self-attention of H heads over n tokens, [1, H, n, D] each. */
export interface Shape {
  readonly heads: number
  readonly queries: number
  readonly tokens: number
  readonly headSize: number
  readonly causal: boolean
}

export interface Contender {
  readonly name: string
  /** One whole forward pass; the result is [H, n, D]. */
  run(): Promise<Float32Array>
}

export interface Data {
  readonly query: Float32Array
  readonly key: Float32Array
  readonly value: Float32Array
}

export function randomData({ heads, queries, tokens, headSize }: Shape): Data {
  let state = 1
  const fill = (length: number) =>
    Float32Array.from({ length: length }, () => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0
      return state / 2147483648 - 1
    })
  return {
    query: fill(heads * queries * headSize),
    key: fill(heads * tokens * headSize),
    value: fill(heads * tokens * headSize),
  }
}

export interface EngineCall {
  /** rows of a task, 1024 by default */
  readonly chunkRows?: number
  readonly task?: Partial<AttentionTask> | undefined
  readonly settings?: Partial<AttentionTask['settings']> | undefined
  /** attached under ids from 4 on */
  readonly arrays?: readonly TaskArray[]
}

/** The engine alone, on this thread. */
export function heddle(
  variant: 'simd' | 'relaxed',
  shape: Shape,
  { query, key, value }: Data,
  call: EngineCall = {},
): Contender {
  const { chunkRows = 1024 } = call
  const module = new WebAssembly.Module(readFileSync(`build/heddle-attention-${variant}.wasm`))
  const backend = createWasmBackend([module])
  const { heads, queries, tokens, headSize, causal } = shape
  const output = new Float32Array(heads * queries * headSize)
  const arrays = [query, key, value, output, ...(call.arrays ?? [])]
  const context = { array: (id: number) => arrays[id] as TaskArray, pace: () => undefined }
  const settings: AttentionTask['settings'] = { ...plainSettings(tokens, headSize, causal), ...call.settings }
  const slice = (array: number, head: number, rows: number, row: number) => ({
    array,
    offset: (head * rows + row) * headSize,
    rowStride: headSize,
  })
  return {
    name: `heddle ${variant}`,
    async run() {
      for (let head = 0; head < heads; head++) {
        for (let row = 0; row < queries; row += chunkRows) {
          await backend.attention(
            {
              kind: 'attention',
              batchHead: head,
              rowStart: row,
              rows: Math.min(chunkRows, queries - row),
              keyStart: 0,
              keyEnd: tokens,
              keyLength: tokens,
              queryOffset: tokens - queries,
              alibiSlope: 0,
              query: slice(0, head, queries, row),
              key: slice(1, head, tokens, 0),
              value: slice(2, head, tokens, 0),
              output: slice(3, head, queries, row),
              ...call.task,
              settings,
            },
            context,
          )
        }
      }
      return output
    },
  }
}

/** onnxruntime-web's MultiHeadAttention on one thread. @param folder of the installed package's dist */
export async function onnxruntime(
  folder: string,
  { heads, queries, tokens, headSize }: Shape,
  { query, key, value }: Data,
): Promise<Contender> {
  const size = heads * headSize
  const run = await peerSession(
    folder,
    oneNodeModel({
      operation: 'MultiHeadAttention',
      domain: 'com.microsoft',
      attributes: { num_heads: heads },
      inputs: { query: [1, queries, size], key: [1, tokens, size], value: [1, tokens, size] },
      output: [1, queries, size],
    }),
    {
      query: [headsLast(query, heads, queries, headSize), [1, queries, size]],
      key: [headsLast(key, heads, tokens, headSize), [1, tokens, size]],
      value: [headsLast(value, heads, tokens, headSize), [1, tokens, size]],
    },
  )
  return { name: 'onnxruntime-web', run: async () => headsFirst(await run(), heads, queries, headSize) }
}

/** onnxruntime-web's MatMul X·W on one thread, W [inSize, outSize] being ours transposed. */
export async function onnxruntimeMatMul(
  folder: string,
  x: Float32Array,
  w: Float32Array,
  rows: number,
  inSize: number,
  outSize: number,
): Promise<Contender> {
  const transposed = w.map((_, at) => w[(at % outSize) * inSize + Math.floor(at / outSize)] as number)
  const model = oneNodeModel({
    operation: 'MatMul',
    inputs: { x: [rows, inSize], w: [inSize, outSize] },
    output: [rows, outSize],
  })
  return {
    name: 'onnxruntime-web',
    run: await peerSession(folder, model, { x: [x, [rows, inSize]], w: [transposed, [inSize, outSize]] }),
  }
}

async function peerSession(
  folder: string,
  model: Uint8Array,
  inputs: Readonly<Record<string, readonly [Float32Array, readonly number[]]>>,
): Promise<() => Promise<Float32Array>> {
  const runtime = (await import(`${folder}/ort.wasm.min.mjs`).catch(
    () => import(`${folder}/ort.min.mjs`),
  )) as OnnxRuntime
  runtime.env.wasm.numThreads = 1
  const session = await runtime.InferenceSession.create(model)
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, [data, shape]]) => [name, new runtime.Tensor('float32', data, shape)]),
  )
  return async () => ((await session.run(feeds))['output'] as { data: Float32Array }).data
}

interface OnnxRuntime {
  readonly env: { readonly wasm: { numThreads: number } }
  readonly Tensor: new (type: string, data: Float32Array, shape: readonly number[]) => unknown
  readonly InferenceSession: {
    create(model: Uint8Array): Promise<{ run(feeds: object): Promise<Record<string, unknown>> }>
  }
}
