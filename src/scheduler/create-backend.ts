import type { Backend } from '../backends/backend.ts'
import { loadKernels, probeWasm } from '../backends/wasm/binaries.ts'
import { createWasmBackend, type WasmBackend } from '../backends/wasm/engine.ts'
import { BackendUnavailableError } from '../core/errors.ts'
import type { LaneConfig } from '../protocol/messages.ts'
import { GpuLaneBackend } from './gpu-lane-backend.ts'

export interface CreatedBackend {
  readonly backend: Backend
  /** the binary or GPU that it runs, for reports */
  readonly kernels: string
}

/** The backend that a lane was configured for. @throws {BackendUnavailableError} when this host cannot run it */
export async function createBackend(config: LaneConfig): Promise<CreatedBackend> {
  if (config.kind === 'wasm') return createWasm(config)
  return GpuLaneBackend.create(async () => (await createWasm(config)).backend, config.webgpu)
}

async function createWasm(config: LaneConfig): Promise<CreatedBackend & { readonly backend: WasmBackend }> {
  const probe = probeWasm()
  if (!probe.simd) {
    throw new BackendUnavailableError(`backend "wasm": expected a host with WebAssembly SIMD (${probe.reason ?? 'it is missing'})`)
  }
  const variant = config.numerics === 'fast' && probe.relaxedSimd ? 'relaxed' : 'simd'
  const module = config.wasm?.[variant] ?? (await loadKernels(variant))
  return { backend: createWasmBackend(module), kernels: variant }
}
