import type { Capabilities } from './capabilities.ts'
import type { AutoChoice, TimeLane } from './measure-lanes.ts'
import type { RuntimeOptions } from './runtime-options.ts'

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
  timeLane: TimeLane,
): Promise<AutoChoice | undefined> {
  const { backend = 'auto', workers = 'auto', numerics } = options
  const { available, fallback } = capabilities.webgpu
  if (backend !== 'auto' || workers !== 'auto') return undefined
  if (!capabilities.workers) return wasmAlone(capabilities.reasons['workers'] ?? 'the host has no workers')
  if (numerics === 'portable') return wasmAlone('portable numerics leave GPUs out')
  if (!available) return wasmAlone(`no GPU (${capabilities.reasons['webgpu'] ?? 'the host has none'})`)
  if (fallback) return wasmAlone('the GPU adapter computes in software')
  remembered ??= import('./measure-lanes.ts').then(({ measureLanes }) => measureLanes(capabilities.cores, timeLane))
  return remembered
}

/** Forgets what was measured. */
export function forgetAutoBackend(): void {
  remembered = null
}

function wasmAlone(reason: string): AutoChoice {
  return { kinds: undefined, reason }
}
