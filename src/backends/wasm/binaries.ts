import { BackendUnavailableError } from '../../core/errors.ts'
import { nodeModule } from '../../core/node-module.ts'
import type { Kernels, LaterKernels } from '../../protocol/messages.ts'
import type { KernelVariant } from './probe.ts'

/** What lanes start with, and what they need beside it for some tasks. */
export type KernelSet = 'attention' | LaterKernels

/** Each binary is a file of its own, compressed, which is fetched when it is first needed. */
const DEFLATED: Readonly<Record<`${KernelSet}-${KernelVariant}`, () => Promise<{ readonly deflated: string }>>> = {
  'attention-simd': () => import('./binary-attention-simd.ts'),
  'attention-relaxed': () => import('./binary-attention-relaxed.ts'),
  'gradients-simd': () => import('./binary-gradients-simd.ts'),
  'gradients-relaxed': () => import('./binary-gradients-relaxed.ts'),
  'rows-simd': () => import('./binary-rows-simd.ts'),
  'rows-relaxed': () => import('./binary-rows-relaxed.ts'),
}

const loaded = new Map<string, Promise<Kernels>>()

/**
 * A set of kernels, fetched and compiled once per thread. A page may forbid that here and allow it in workers, which
 * then get the bytes.
 *
 * @throws {BackendUnavailableError} when the file cannot be fetched; it can be asked for again
 */
export function loadKernels(set: KernelSet, variant: KernelVariant): Promise<Kernels> {
  const name = `${set}-${variant}` as const
  const known = loaded.get(name)
  if (known !== undefined) return known
  const loading = load(name)
  loaded.set(name, loading)
  loading.catch(() => loaded.delete(name))
  return loading
}

async function load(name: keyof typeof DEFLATED): Promise<Kernels> {
  const { deflated } = await DEFLATED[name]().catch((cause: unknown) => {
    const message = `kernels: expected to load ${name}, but the host refused: ${cause instanceof Error ? cause.message : String(cause)}`
    throw new BackendUnavailableError(message, { cause })
  })
  const bytes = await inflate(Uint8Array.from(atob(deflated), (character) => character.charCodeAt(0)))
  return WebAssembly.compile(bytes).catch(() => bytes)
}

/** By Node where it is there: test environments such as jsdom have Blobs without streams, or no DecompressionStream. */
async function inflate(deflated: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const zlib = nodeModule('node:zlib') as { inflateRawSync(bytes: Uint8Array): Uint8Array<ArrayBuffer> } | undefined
  if (zlib !== undefined) return new Uint8Array(zlib.inflateRawSync(deflated))
  const stream = new Blob([deflated]).stream().pipeThrough(new DecompressionStream('deflate-raw'))
  return new Uint8Array(await new Response(stream).arrayBuffer())
}
