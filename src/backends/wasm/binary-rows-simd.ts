import text from '../../../build/heddle-rows-simd.wasm.deflate'

/** Compressed (deflate-raw), in base64. */
export const deflated: string = text
