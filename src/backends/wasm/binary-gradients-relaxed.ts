import text from '../../../build/heddle-gradients-relaxed.wasm.deflate'

/** Compressed (deflate-raw), in base64. */
export const deflated: string = text
