export { default } from '../../../build/heddle-simd.wasm.deflate'
