import bytes from '../../../build/heddle-rows-simd.wasm.deflate'

/** Compressed (deflate-raw). */
export const deflated: Uint8Array<ArrayBuffer> = bytes
