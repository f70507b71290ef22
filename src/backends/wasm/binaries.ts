import { nodeModule } from '../../core/node-module.ts'
import type { Kernels } from '../../protocol/messages.ts'
import type { KernelVariant } from './probe.ts'

/** Each binary is a file of its own, compressed, which is fetched when it is first needed. */
const DEFLATED: Readonly<Record<KernelVariant, () => Promise<{ readonly deflated: Uint8Array<ArrayBuffer> }>>> = {
  simd: () => import('./binary-simd.ts'),
  relaxed: () => import('./binary-relaxed.ts'),
}

const loaded = new Map<KernelVariant, Promise<Kernels>>()

/**
 * The kernels, fetched and compiled once per thread. A page may forbid that here and allow it in workers, which then
 * get the bytes.
 */
export function loadKernels(variant: KernelVariant): Promise<Kernels> {
  const known = loaded.get(variant)
  if (known !== undefined) return known
  const loading = load(variant)
  loaded.set(variant, loading)
  // A file that could not be fetched can be asked for again.
  loading.catch(() => loaded.delete(variant))
  return loading
}

async function load(variant: KernelVariant): Promise<Kernels> {
  const { deflated } = await DEFLATED[variant]()
  const bytes = await inflate(deflated)
  return WebAssembly.compile(bytes).catch(() => bytes)
}

/** By Node where it is there: test environments such as jsdom have Blobs without streams, or no DecompressionStream. */
async function inflate(deflated: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const zlib = nodeModule('node:zlib') as { inflateRawSync(bytes: Uint8Array): Uint8Array<ArrayBuffer> } | undefined
  if (zlib !== undefined) return new Uint8Array(zlib.inflateRawSync(deflated))
  const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream('deflate-raw'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}
