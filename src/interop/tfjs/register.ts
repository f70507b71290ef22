import { env, registerBackend } from '@tensorflow/tfjs-core'
import { GpuDevice } from '../../backends/webgpu/gpu-device.ts'

/** What `@tensorflow/tfjs-backend-webgpu` offers of use here. */
interface WebGpuModule {
  readonly WebGPUBackend: new (device: GPUDevice, info?: GPUAdapterInfo) => unknown
}

/**
 * Registers tfjs's webgpu backend under `name` on a device with all of the adapter's limits, also where `navigator.gpu`
 * is missing (Node, with the optional peer `webgpu`). Call `tf.setBackend(name)` and `await tf.ready()` afterwards.
 *
 * @param module the imported `@tensorflow/tfjs-backend-webgpu`
 * @param name of the backend in tfjs
 * @returns whether the name was free
 * @throws {BackendUnavailableError} without an adapter or device
 */
export async function registerWebGpu(module: object, name = 'webgpu'): Promise<boolean> {
  const { device } = await GpuDevice.open(undefined)
  const { WebGPUBackend } = module as WebGpuModule
  // Small inputs would be computed on the CPU, and their tensors would not be on the device.
  env().set('WEBGPU_CPU_FORWARD', false)
  return registerBackend(name, () => new WebGPUBackend(device, device.adapterInfo) as never, 4)
}
