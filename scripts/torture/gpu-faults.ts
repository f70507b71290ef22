import { createRuntime, type Runtime } from 'heddle'
import type { Random } from '../../tests/support/random.ts'
import { skipReason, testGpu } from '../../tests/webgpu/support/software-gpu.ts'
import { attend, ensureClose, hostGpu } from './gpu-host.ts'
import { ensure, wait, type Promised } from './promise.ts'

/** What a device may refuse, and how often a call asks for it at most. */
const REFUSALS = {
  createBuffer: 24,
  createComputePipelineAsync: 3,
  mapAsync: 12,
  popErrorScope: 24,
} as const
type Refusable = keyof typeof REFUSALS

/** Asked at each of these calls whether it fails. */
let refuses: (what: Refusable) => boolean = () => false

/** Lets the calls of a device fail when `refuses` says so, as WebGPU lets them: by an exception, or by a rejection. */
function refusable(device: GPUDevice): void {
  const createBuffer = device.createBuffer.bind(device)
  device.createBuffer = (descriptor) => {
    if (refuses('createBuffer')) throw new RangeError('createBuffer failed')
    const buffer = createBuffer(descriptor)
    const mapAsync = buffer.mapAsync.bind(buffer)
    buffer.mapAsync = async (...range) => {
      if (refuses('mapAsync')) throw new DOMException('the map was refused', 'OperationError')
      return mapAsync(...range)
    }
    return buffer
  }
  const compile = device.createComputePipelineAsync.bind(device)
  device.createComputePipelineAsync = async (descriptor) => {
    if (refuses('createComputePipelineAsync')) throw new DOMException('the kernel was refused', 'GPUPipelineError')
    return compile(descriptor)
  }
  const popErrorScope = device.popErrorScope.bind(device)
  device.popErrorScope = async () => {
    const found = await popErrorScope()
    return refuses('popErrorScope') ? { message: 'out of memory' } : found
  }
}

/** The device goes away, or refuses something, at any time of a call. None where there is no WebGPU. */
export async function gpuFaults(calm: Runtime): Promise<Promised[]> {
  const found = await testGpu()
  if (found.gpu === undefined) {
    skipReason(found)
    return []
  }
  const devices: GPUDevice[] = []
  hostGpu(found.gpu, (device) => {
    devices.push(device)
    refusable(device)
  })
  return [lostDevices(calm, devices), refusedCalls(calm)]
}

function lostDevices(calm: Runtime, devices: readonly GPUDevice[]): Promised {
  return {
    promise: 'a GPU device that is lost at any time: the same answer, or a typed error, and usable after',
    seconds: 2,
    attempt: (random) =>
      onGpu(calm, async (runtime, expected) => {
        const running = attend(runtime)
        await wait(random.uniform() * 120)
        const faultMs = performance.now()
        devices.at(-1)?.destroy()
        const outcome = await running
        const settledMs = performance.now() - faultMs
        if (outcome instanceof Float32Array) ensureClose(outcome, expected)
        return settledMs
      }),
  }
}

function refusedCalls(calm: Runtime): Promised {
  const codes = ['MemoryBudgetError', 'BackendUnavailableError']
  return {
    promise: 'the n-th GPU call is refused: the same answer, or a typed error, and usable after',
    seconds: 2,
    attempt: (random) =>
      onGpu(calm, async (runtime, expected) => {
        refuseNth(random)
        const startMs = performance.now()
        const outcome = await attend(runtime).finally(() => (refuses = () => false))
        if (outcome instanceof Float32Array) ensureClose(outcome, expected)
        else ensure(codes.includes(outcome.code), `expected ${codes.join(' or ')}, got ${String(outcome)}`)
        return performance.now() - startMs
      }),
  }
}

function refuseNth(random: Random): void {
  const chosen = random.pick(Object.keys(REFUSALS) as Refusable[])
  let left = random.integer(1, REFUSALS[chosen])
  refuses = (what) => what === chosen && --left === 0
}

/** Runs one case on a device of its own, on which a call must be right afterwards. */
async function onGpu(
  calm: Runtime,
  body: (runtime: Runtime, expected: Float32Array) => Promise<number>,
): Promise<number> {
  const expected = await attend(calm)
  ensure(expected instanceof Float32Array, `expected an answer without a GPU, got ${String(expected)}`)
  const runtime = await createRuntime({ workers: 0, backend: 'webgpu' })
  try {
    const settledMs = await body(runtime, expected)
    ensureClose(await attend(runtime), expected)
    return settledMs
  } finally {
    await runtime.close()
  }
}
