import bytes from '../../../build/heddle-rows-relaxed.wasm.deflate'

/** Compressed (deflate-raw). */
export const deflated: Uint8Array<ArrayBuffer> = bytes
