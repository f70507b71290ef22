import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { createRuntime } from 'heddle'
import { loadModel } from 'heddle/models'
import { HUB_FOLDER, ONNX_FILE } from './encoder-files.ts'

/** One way from token ids to hidden rows [n, E]. */
export interface EncoderContender {
  readonly run: (ids: Int32Array) => Promise<Float32Array>
  readonly close: () => Promise<void>
}

interface OnnxRuntime {
  readonly env: { readonly wasm: { numThreads: number } }
  readonly Tensor: new (type: string, data: BigInt64Array, shape: readonly number[]) => unknown
  readonly InferenceSession: {
    create(
      model: Uint8Array,
    ): Promise<{ run(feeds: object): Promise<Record<string, { data: Float32Array }>>; release(): Promise<void> }>
  }
}

/** `heddle/models` on workers. */
export async function heddleEncoder(folder: string, workers: number): Promise<EncoderContender> {
  const model = await loadModel(path.join(folder, HUB_FOLDER))
  const runtime = await createRuntime({ workers, backend: 'wasm' })
  return {
    run: async (ids) =>
      (await model.transformer.forward({ data: ids, shape: [1, ids.length] }, { runtime })).output.data,
    close: () => runtime.close(),
  }
}

/** onnxruntime-web on one thread. @param peers the folder that it is installed in */
export async function onnxEncoder(folder: string, peers: string): Promise<EncoderContender> {
  const file = path.join(peers, 'node_modules/onnxruntime-web/dist/ort.wasm.min.mjs')
  const ort = (await import(pathToFileURL(file).href)) as OnnxRuntime
  ort.env.wasm.numThreads = 1
  const session = await ort.InferenceSession.create(await readFile(path.join(folder, ONNX_FILE)))
  return {
    run: async (ids) => {
      const row = (numbers: BigInt64Array): unknown => new ort.Tensor('int64', numbers, [1, ids.length])
      const positions = BigInt64Array.from({ length: ids.length }, (_, index) => BigInt(index))
      const feeds = { ids: row(BigInt64Array.from(ids, BigInt)), positions: row(positions) }
      return (await session.run(feeds))['hidden']!.data
    },
    close: () => session.release(),
  }
}
