import attentionRelaxed from '../../../build/heddle-attention-relaxed.wasm'
import attentionSimd from '../../../build/heddle-attention-simd.wasm'
import gradientsRelaxed from '../../../build/heddle-gradients-relaxed.wasm'
import gradientsSimd from '../../../build/heddle-gradients-simd.wasm'
import type { KernelVariant } from './probe.ts'

const BINARIES = {
  simd: [attentionSimd, gradientsSimd],
  relaxed: [attentionRelaxed, gradientsRelaxed],
} as const

/** The kernels of attention and of its gradients, compiled at once: for callers that cannot wait. */
export function compileKernels(variant: KernelVariant): WebAssembly.Module[] {
  return BINARIES[variant].map((binary) => new WebAssembly.Module(binary))
}
