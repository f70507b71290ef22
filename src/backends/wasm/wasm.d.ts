/** A binary that the build inlines. */
declare module '*.wasm' {
  const bytes: Uint8Array<ArrayBuffer>
  export default bytes
}

/** A kernel binary, compressed (deflate-raw), in base64. */
declare module '*.wasm.deflate' {
  const text: string
  export default text
}
