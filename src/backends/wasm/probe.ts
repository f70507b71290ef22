/** The two binaries of one source: plain SIMD, and with fused multiply-add where the processor has it. */
export type KernelVariant = 'simd' | 'relaxed'

export interface WasmProbe {
  readonly simd: boolean
  readonly relaxedSimd: boolean
  /** why there is no SIMD */
  readonly reason?: string
}

/** The binary that lanes run. */
export function variantFor(
  numerics: 'fast' | 'portable',
  { relaxedSimd }: Pick<WasmProbe, 'relaxedSimd'>,
): KernelVariant {
  return numerics === 'fast' && relaxedSimd ? 'relaxed' : 'simd'
}

/** What this engine can compile, from modules of a few bytes. */
export function probeWasm(): WasmProbe {
  if (typeof WebAssembly === 'undefined')
    return { simd: false, relaxedSimd: false, reason: 'the host has no WebAssembly' }
  if (!WebAssembly.validate(moduleOf([...SPLAT_ZERO, 0xfd, 0x60, DROP]))) {
    return { simd: false, relaxedSimd: false, reason: 'the engine does not accept 128-bit WebAssembly SIMD' }
  }
  return {
    simd: true,
    relaxedSimd: WebAssembly.validate(moduleOf([...SPLAT_ZERO, ...SPLAT_ZERO, ...SPLAT_ZERO, 0xfd, 0x85, 0x02, DROP])),
  }
}

const DROP = 0x1a
/** i32.const 0, i32x4.splat; then 0xfd 0x60 is i8x16.abs, and 0xfd 0x85 0x02 is f32x4.relaxed_madd */
const SPLAT_ZERO = [0x41, 0x00, 0xfd, 0x11]

/** A module with one function () → () of this body. */
function moduleOf(body: readonly number[]): Uint8Array<ArrayBuffer> {
  const code = [0x00, ...body, 0x0b]
  return Uint8Array.from([
    0x00,
    0x61,
    0x73,
    0x6d,
    0x01,
    0x00,
    0x00,
    0x00,
    0x01,
    0x04,
    0x01,
    0x60,
    0x00,
    0x00,
    0x03,
    0x02,
    0x01,
    0x00,
    0x0a,
    code.length + 2,
    0x01,
    code.length,
    ...code,
  ])
}
