export { default } from '../../../build/heddle-relaxed.wasm.deflate'
