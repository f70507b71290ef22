import * as tf from '@tensorflow/tfjs-core'
import { setWasmPaths } from '@tensorflow/tfjs-backend-wasm'
import plainUrl from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm.wasm?url'
import simdUrl from '@tensorflow/tfjs-backend-wasm/dist/tfjs-backend-wasm-simd.wasm?url'

/**
 * Attention of [tokens, size] rows over themselves, as tfjs does it: it computes on the thread that calls it, so it
 * gets its own.
 */
export interface TfjsRequest {
  readonly rows: Float32Array
  readonly tokens: number
  readonly size: number
}

export interface TfjsAnswer {
  readonly output?: Float32Array
  readonly elapsedMs?: number
  readonly peakBytes?: number
  readonly failure?: string
}

const ready = start()

addEventListener('message', ({ data }: MessageEvent<TfjsRequest>) => {
  attend(data).then(
    (answer) => postMessage(answer),
    (error: unknown) =>
      postMessage({ failure: error instanceof Error ? error.message : String(error) } satisfies TfjsAnswer),
  )
})

async function start(): Promise<void> {
  const at = (url: string): string => new URL(url, location.href).href
  // One thread, as the page says: its threads are Emscripten's, which a bundled worker cannot start.
  tf.env().set('WASM_HAS_MULTITHREAD_SUPPORT', false)
  // All three names must be given; the threaded one is never asked for.
  setWasmPaths({
    'tfjs-backend-wasm.wasm': at(plainUrl),
    'tfjs-backend-wasm-simd.wasm': at(simdUrl),
    'tfjs-backend-wasm-threaded-simd.wasm': at(simdUrl),
  })
  if (!(await tf.setBackend('wasm'))) throw new Error('tfjs: the wasm backend did not start')
}

async function attend({ rows, tokens, size }: TfjsRequest): Promise<TfjsAnswer> {
  await ready
  const input = tf.tensor2d(rows, [tokens, size])
  let [output, elapsedMs]: [Float32Array, number] = [new Float32Array(), 0]
  const { peakBytes } = await tf.profile(async () => {
    const startMs = performance.now()
    const result = tf.tidy(() =>
      tf.matMul(tf.softmax(tf.mul(tf.matMul(input, input, false, true), 1 / Math.sqrt(size))), input),
    )
    output = (await result.data()) as Float32Array
    elapsedMs = performance.now() - startMs
    result.dispose()
  })
  input.dispose()
  return { output, elapsedMs, peakBytes }
}
