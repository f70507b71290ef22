import type { LaneKind } from '../protocol/messages.ts'
import type { Capabilities } from './capabilities.ts'
import type { RuntimeOptions } from './runtime-options.ts'

/** Tokens of the job that lanes are measured by: long enough to fill a GPU, some 30 ms on one wasm lane. */
export const MEASURED_TOKENS = 2048

/** What was measured, for every runtime of this page: once is enough. */
let remembered: Promise<LaneKind[] | undefined> | null = null

/**
 * The lanes that `backend: 'auto'` does best with: a GPU lane beside the wasm lanes where a real GPU is there and beats one
 * of them, measured once and remembered; else undefined, which is wasm alone. `portable` numerics leave GPUs out: theirs
 * differ.
 *
 * @param timeLane milliseconds that one lane of a kind takes for the measuring job
 */
export function autoLaneKinds(options: RuntimeOptions, capabilities: Capabilities, timeLane: (kind: LaneKind) => Promise<number>): Promise<LaneKind[] | undefined> {
  const { backend = 'auto', workers = 'auto', numerics } = options
  const { available, fallback } = capabilities.webgpu
  if (backend !== 'auto' || workers !== 'auto' || numerics === 'portable' || !available || fallback || !capabilities.workers) return Promise.resolve(undefined)
  remembered ??= measure(capabilities, timeLane)
  return remembered
}

/** Forgets what was measured. */
export function forgetAutoBackend(): void {
  remembered = null
}

async function measure({ cores }: Capabilities, timeLane: (kind: LaneKind) => Promise<number>): Promise<LaneKind[] | undefined> {
  try {
    const gpuMs = await timeLane('webgpu')
    const wasmMs = await timeLane('wasm')
    if (gpuMs >= wasmMs) return undefined
    // The GPU lane's worker prepares its submits on a core of its own.
    return ['webgpu', ...new Array<LaneKind>(Math.max(1, cores - 1)).fill('wasm')]
  } catch {
    return undefined // a GPU that fails its first job is not chosen
  }
}
