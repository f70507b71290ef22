import type { RowStep } from './stage.ts'

/**
 * Steps without a WGSL kernel. A stage with one of them runs on wasm on a GPU lane too: plans count the memory for it,
 * and reports say so. A step that is missing here must have an encoder in backends/webgpu/row-steps.ts to compile.
 */
export const WASM_STEPS = [
  'load-heads',
  'normalise',
  'norm-backward',
  'rms-normalise',
  'rms-norm-backward',
  'fold',
  'max-rows',
  'max-rows-backward',
  'subtract',
  'activate-backward',
  'store-slab',
  'sum-columns',
  'cross-entropy',
  'cross-entropy-backward',
  'squared-error',
] as const satisfies readonly RowStep['op'][]

export type WasmStep = (typeof WASM_STEPS)[number]

export function isWasmStep(op: string): op is WasmStep {
  return (WASM_STEPS as readonly string[]).includes(op)
}
