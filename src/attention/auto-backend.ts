import type { LaneKind } from '../protocol/messages.ts'
import type { Capabilities } from './capabilities.ts'
import type { RuntimeOptions } from './runtime-options.ts'

/** Tokens of the job that lanes are measured by: long enough to fill a GPU, some 30 ms on one wasm lane. */
export const MEASURED_TOKENS = 2048

/** What `backend: 'auto'` takes. */
export interface AutoChoice {
  /** undefined: wasm lanes alone */
  readonly kinds: LaneKind[] | undefined
  readonly reason: string
}

/** What was measured, for every runtime of this page: once is enough. */
let remembered: Promise<AutoChoice> | null = null

/**
 * The lanes that `backend: 'auto'` does best with: a GPU lane beside the wasm lanes where a real GPU is there and beats
 * one of them, measured once and remembered; else wasm alone. `portable` numerics leave GPUs out: theirs differ.
 * Undefined where the user has chosen.
 *
 * @param timeLane milliseconds that one lane of a kind takes for the measuring job
 */
export async function chooseAutoLanes(
  options: RuntimeOptions,
  capabilities: Capabilities,
  timeLane: (kind: LaneKind) => Promise<number>,
): Promise<AutoChoice | undefined> {
  const { backend = 'auto', workers = 'auto', numerics } = options
  const { available, fallback } = capabilities.webgpu
  if (backend !== 'auto' || workers !== 'auto') return undefined
  if (!capabilities.workers) return wasmAlone(capabilities.reasons['workers'] ?? 'the host has no workers')
  if (numerics === 'portable') return wasmAlone('portable numerics leave GPUs out')
  if (!available) return wasmAlone(`no GPU (${capabilities.reasons['webgpu'] ?? 'the host has none'})`)
  if (fallback) return wasmAlone('the GPU adapter computes in software')
  remembered ??= measure(capabilities, timeLane)
  return remembered
}

/** Forgets what was measured. */
export function forgetAutoBackend(): void {
  remembered = null
}

function wasmAlone(reason: string): AutoChoice {
  return { kinds: undefined, reason }
}

async function measure({ cores }: Capabilities, timeLane: (kind: LaneKind) => Promise<number>): Promise<AutoChoice> {
  try {
    const gpuMs = await timeLane('webgpu')
    const wasmMs = await timeLane('wasm')
    const measured = `${MEASURED_TOKENS} tokens took the GPU ${gpuMs.toPrecision(2)} ms, a wasm lane ${wasmMs.toPrecision(2)} ms`
    if (gpuMs >= wasmMs) return wasmAlone(measured)
    // The GPU lane's worker prepares its submits on a core of its own.
    return { kinds: ['webgpu', ...new Array<LaneKind>(Math.max(1, cores - 1)).fill('wasm')], reason: measured }
  } catch (error) {
    return wasmAlone(`the GPU failed its first job: ${error instanceof Error ? error.message : String(error)}`)
  }
}
