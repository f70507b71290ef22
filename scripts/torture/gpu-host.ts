import { HeddleError, type Runtime } from 'heddle'
import { measureCloseness } from '../../tests/support/error-rule.ts'
import { filled } from '../../tests/support/tensors.ts'
import { ensure } from './promise.ts'

const same = filled([1, 2, 700, 16], (at) => Math.sin(at * 1.7))
const call = { query: same, key: same, value: same }
const options = { causal: true, chunkSize: 50 }
/** What WebGPU promises against float64, twice: here the other side is float32. */
const BETWEEN_BACKENDS = { plainFactor: 0, floor: 2e-5, perElement: true }

/** A call's output, or the typed error that it was rejected with. */
export async function attend(runtime: Runtime): Promise<Float32Array | HeddleError> {
  return runtime.attention(call, options).then(
    ({ output }) => output.data,
    (error: unknown) => {
      if (error instanceof HeddleError) return error
      throw error
    },
  )
}

/** @throws unless it is an output, and that of another backend but for rounding */
export function ensureClose(actual: Float32Array | HeddleError, expected: Float32Array): void {
  ensure(actual instanceof Float32Array, `expected an answer, got ${String(actual)}`)
  const { ok, error, bound } = measureCloseness(actual, expected, expected, BETWEEN_BACKENDS)
  ensure(ok, `expected an output within ${bound}, got ${error} apart`)
}

/** Makes a GPU the host's, and lets `watch` see each device that it hands out. */
export function hostGpu(gpu: GPU, watch: (device: GPUDevice) => void): void {
  const requestAdapter = async (given?: GPURequestAdapterOptions): Promise<GPUAdapter | null> => {
    const adapter = await gpu.requestAdapter(given)
    if (adapter === null) return null
    const requestDevice = adapter.requestDevice.bind(adapter)
    adapter.requestDevice = async (descriptor) => {
      const device = await requestDevice(descriptor)
      watch(device)
      return device
    }
    return adapter
  }
  Object.assign(globalThis, { [Symbol.for('heddle.webgpu')]: { requestAdapter } })
}
