import { createRuntime, type Runtime } from 'heddle'
import { effect, signal } from '@preact/signals'

/** `missing` names what the tab lacks and Heddle cannot do without. */
export type HostState =
  | { readonly kind: 'starting' }
  | { readonly kind: 'ready'; readonly runtime: Runtime }
  | { readonly kind: 'missing'; readonly what: readonly ('workers' | 'simd')[]; readonly detail: string }

export const host = signal<HostState>({ kind: 'starting' })

/** A module with one SIMD instruction, which engines without SIMD refuse: `i32.const 0; i8x16.splat; drop`. */
const SIMD_PROBE = Uint8Array.of(
  0,
  97,
  115,
  109,
  1,
  0,
  0,
  0,
  1,
  4,
  1,
  96,
  0,
  0,
  3,
  2,
  1,
  0,
  10,
  9,
  1,
  7,
  0,
  65,
  0,
  253,
  15,
  26,
  11,
)

/** Starts the pool. Never rejects: what goes wrong is a state of the page. */
export async function startHost(): Promise<void> {
  const missing = [
    ...(typeof Worker === 'undefined' ? (['workers'] as const) : []),
    ...(hasSimd() ? [] : (['simd'] as const)),
  ]
  if (missing.length > 0) {
    host.value = { kind: 'missing', what: missing, detail: '' }
    return
  }
  try {
    host.value = { kind: 'ready', runtime: await createRuntime() }
  } catch (error) {
    host.value = { kind: 'missing', what: ['workers'], detail: error instanceof Error ? error.message : String(error) }
  }
}

/** @throws where a view runs before the page is ready, which its buttons rule out */
export function runtimeNow(): Runtime {
  if (host.value.kind !== 'ready') throw new Error('expected the pool to have started')
  return host.value.runtime
}

/** The runtime as soon as it is there: a visitor may choose a text before the pool has started. */
export function whenReady(): Promise<Runtime> {
  return new Promise((resolve) => {
    const stop = effect(() => {
      if (host.value.kind !== 'ready') return
      resolve(host.value.runtime)
      queueMicrotask(() => stop())
    })
  })
}

function hasSimd(): boolean {
  return typeof WebAssembly === 'object' && WebAssembly.validate(SIMD_PROBE)
}
