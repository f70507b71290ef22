import { loadKernels } from '../backends/wasm/binaries.ts'
import type { LaneConfig, SentKernels } from '../protocol/messages.ts'
import { createWasmLane } from './create-wasm-lane.ts'
import type { CreatedBackend } from './lane-host.ts'

/**
 * The backend that a lane was configured for, with all it may need. @throws {BackendUnavailableError} when this host
 * cannot run it
 */
export async function createBackend(config: LaneConfig, sent: SentKernels): Promise<CreatedBackend> {
  if (config.kind === 'wasm') return createWasmLane(config, sent, loadKernels)
  const { GpuLaneBackend } = await import('./gpu-lane-backend.ts')
  return GpuLaneBackend.create(async () => (await createWasmLane(config, sent, loadKernels)).backend, config.webgpu)
}
