import type { Packages, PeerShape } from './contenders.ts'
import { measurePeer, type PeerMeasurement } from './measure.ts'

/** Files that the bench serves beside the page. */
const FILES: Readonly<Record<string, string>> = {
  heddle: '/index.js',
  '@tensorflow/tfjs-core': '/tfjs.js',
  '@tensorflow/tfjs-backend-wasm': '/tfjs.js',
  '@jax-js/jax': '/peers/jax.js',
  'onnxruntime-web': '/peers/onnxruntime-web/ort.wasm.min.mjs',
}

const packages: Packages = {
  load: (id) => import(/* @vite-ignore */ FILES[id] ?? id),
  address: () => '/tfjs/',
}

declare global {
  var measurePeer: (name: string, shape: PeerShape) => Promise<PeerMeasurement | { failure: string }>
}

globalThis.measurePeer = async (name, shape) => {
  try {
    return await measurePeer(name, shape, packages)
  } catch (error) {
    return { failure: error instanceof Error ? error.message : String(error) }
  }
}
