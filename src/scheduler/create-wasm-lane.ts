import { createWasmBackend, type WasmBackend } from '../backends/wasm/engine.ts'
import { probeWasm, variantFor, type KernelVariant } from '../backends/wasm/probe.ts'
import { BackendUnavailableError } from '../core/errors.ts'
import type { Kernels, LaneConfig } from '../protocol/messages.ts'
import type { CreatedBackend } from './lane-host.ts'

/** The kernels of a lane whose configuration brings none. */
export type KernelSource = (variant: KernelVariant) => Promise<Kernels>

/** @throws {BackendUnavailableError} when this host cannot run it */
export async function createWasmLane(
  config: LaneConfig,
  source: KernelSource,
): Promise<CreatedBackend & { readonly backend: WasmBackend }> {
  const probe = probeWasm()
  if (!probe.simd) {
    throw new BackendUnavailableError(
      `backend "wasm": expected a host with WebAssembly SIMD (${probe.reason ?? 'it is missing'})`,
    )
  }
  const variant = variantFor(config.numerics, probe)
  const kernels = config.wasm?.[variant] ?? (await source(variant))
  const module = kernels instanceof WebAssembly.Module ? kernels : await WebAssembly.compile(kernels)
  return { backend: createWasmBackend(module), kernels: variant }
}
