import text from '../../../build/heddle-attention-simd.wasm.deflate'

/** Compressed (deflate-raw), in base64. */
export const deflated: string = text
