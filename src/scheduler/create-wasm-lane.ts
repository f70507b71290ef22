import type { KernelSet } from '../backends/wasm/binaries.ts'
import { createWasmBackend, type WasmBackend } from '../backends/wasm/engine.ts'
import { probeWasm, variantFor, type KernelVariant } from '../backends/wasm/probe.ts'
import { BackendUnavailableError } from '../core/errors.ts'
import type { Kernels, LaneConfig, LaterKernels, SentKernels } from '../protocol/messages.ts'
import type { CreatedBackend } from './lane-host.ts'

/** The kernels of a lane that got none. */
export type KernelSource = (set: KernelSet, variant: KernelVariant) => Promise<Kernels>

/** @throws {BackendUnavailableError} when this host cannot run it */
export async function createWasmLane(
  config: LaneConfig,
  sent: SentKernels,
  source: KernelSource,
): Promise<CreatedBackend & { readonly backend: WasmBackend }> {
  const probe = probeWasm()
  if (!probe.simd) {
    throw new BackendUnavailableError(
      `backend "wasm": expected a host with WebAssembly SIMD (${probe.reason ?? 'it is missing'})`,
    )
  }
  const variant = variantFor(config.numerics, probe)
  const attention = await compiled(config.wasm?.[variant] ?? (await source('attention', variant)))
  const later = async (name: LaterKernels): Promise<WebAssembly.Module> =>
    compiled(sent[name] ?? (await source(name, variant)))
  return { backend: createWasmBackend([attention], later), kernels: variant }
}

async function compiled(kernels: Kernels): Promise<WebAssembly.Module> {
  return kernels instanceof WebAssembly.Module ? kernels : await WebAssembly.compile(kernels)
}
