import relaxed from '../../../build/heddle-attention-relaxed.wasm'
import simd from '../../../build/heddle-attention-simd.wasm'
import type { KernelVariant } from './probe.ts'

/** The kernels of attention, compiled at once: for callers that cannot wait. */
export function compileKernels(variant: KernelVariant): WebAssembly.Module {
  return new WebAssembly.Module(variant === 'relaxed' ? relaxed : simd)
}
