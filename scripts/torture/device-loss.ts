import { createRuntime, HeddleError, type Runtime } from 'heddle'
import { skipReason, testGpu } from '../../tests/webgpu/support/software-gpu.ts'
import { filled } from '../../tests/support/tensors.ts'
import { ensure, wait, type Promised } from './promise.ts'

const same = filled([1, 2, 700, 16], (at) => Math.sin(at * 1.7))
const call = { query: same, key: same, value: same }
const options = { causal: true, chunkSize: 50 }
/** What WebGPU promises against float64, twice. */
const MOST_APART = 4e-5

async function attend(runtime: Runtime): Promise<Float32Array | HeddleError> {
  return runtime.attention(call, options).then(
    ({ output }) => output.data,
    (error: unknown) => {
      if (error instanceof HeddleError) return error
      throw error
    },
  )
}

function ensureClose(actual: Float32Array, expected: Float32Array): void {
  const apart = actual.reduce((worst, value, at) => Math.max(worst, Math.abs(value - (expected[at] ?? NaN))), 0)
  ensure(apart <= MOST_APART, `expected an output within ${MOST_APART}, got ${apart} apart`)
}

/** The devices that a GPU hands out, so that they can be lost. */
function watchDevices(gpu: GPU): GPUDevice[] {
  const devices: GPUDevice[] = []
  const requestAdapter = async (given?: GPURequestAdapterOptions): Promise<GPUAdapter | null> => {
    const adapter = await gpu.requestAdapter(given)
    if (adapter === null) return null
    const requestDevice = adapter.requestDevice.bind(adapter)
    adapter.requestDevice = async (descriptor) => {
      const device = await requestDevice(descriptor)
      devices.push(device)
      return device
    }
    return adapter
  }
  Object.assign(globalThis, { [Symbol.for('heddle.webgpu')]: { requestAdapter } })
  return devices
}

/** The device goes away at any time of a call. None where there is no WebGPU. */
export async function lostDevices(calm: Runtime): Promise<Promised[]> {
  const found = await testGpu()
  if (found.gpu === undefined) {
    skipReason(found)
    return []
  }
  const devices = watchDevices(found.gpu)
  return [
    {
      promise: 'a GPU device that is lost at any time: the same answer, or a typed error, and usable after',
      seconds: 2,
      attempt: async (random) => {
        const expected = (await attend(calm)) as Float32Array
        const runtime = await createRuntime({ workers: 0, backend: 'webgpu' })
        try {
          const running = attend(runtime)
          await wait(random.uniform() * 120)
          const faultMs = performance.now()
          devices.at(-1)?.destroy()
          const outcome = await running
          const settledMs = performance.now() - faultMs
          if (outcome instanceof Float32Array) ensureClose(outcome, expected)
          const after = await attend(runtime)
          ensure(after instanceof Float32Array, `expected an answer after the loss, got ${String(after)}`)
          ensureClose(after, expected)
          return settledMs
        } finally {
          await runtime.close()
        }
      },
    },
  ]
}
