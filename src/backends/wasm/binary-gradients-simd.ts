import bytes from '../../../build/heddle-gradients-simd.wasm.deflate'

/** Compressed (deflate-raw). */
export const deflated: Uint8Array<ArrayBuffer> = bytes
