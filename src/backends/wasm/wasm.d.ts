/** A binary that the build inlines. */
declare module '*.wasm' {
  const bytes: Uint8Array<ArrayBuffer>
  export default bytes
}

/** A kernel binary, compressed (deflate-raw). */
declare module '*.wasm.deflate' {
  const bytes: Uint8Array<ArrayBuffer>
  export default bytes
}
