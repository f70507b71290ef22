import relaxed from '../../../build/heddle-relaxed.wasm'
import simd from '../../../build/heddle-simd.wasm'
import type { KernelVariant } from './probe.ts'

/** The kernels, compiled at once: for callers that cannot wait. */
export function compileKernels(variant: KernelVariant): WebAssembly.Module {
  return new WebAssembly.Module(variant === 'relaxed' ? relaxed : simd)
}
