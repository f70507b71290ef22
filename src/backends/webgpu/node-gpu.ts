/** The part of the optional peer `webgpu` (Dawn for Node) that is used. */
interface DawnModule {
  create(flags: string[]): GPU
}

// The object must outlive every device that came from it, or the process crashes: it is kept for good.
const KEPT = Symbol.for('heddle.webgpu')

/**
 * The host's GPU: the browser's, or in Node the optional peer `webgpu`.
 *
 * @returns the GPU, or why there is none
 */
export function hostGpu(): { gpu?: GPU; reason?: string } {
  const browser = (globalThis as { navigator?: { gpu?: GPU } }).navigator?.gpu
  if (browser !== undefined) return { gpu: browser }
  if (typeof process === 'undefined' || process.versions?.node === undefined) {
    return { reason: 'navigator.gpu is missing: the browser has no WebGPU here, or the page is not served securely' }
  }
  const kept = globalThis as { [KEPT]?: GPU }
  if (kept[KEPT] !== undefined) return { gpu: kept[KEPT] }
  try {
    kept[KEPT] = requirePeer('webgpu').create([])
    return { gpu: kept[KEPT] }
  } catch (error) {
    return {
      reason: `the optional package "webgpu" is not usable here (${error instanceof Error ? error.message.split('\n')[0] : String(error)})`,
    }
  }
}

/**
 * Through Node's own `require`: a dynamic import would make bundlers for the web look for a package that only Node has
 * use for.
 */
function requirePeer(name: string): DawnModule {
  const { createRequire } = process.getBuiltinModule('node:module')
  // With a file's name, as bundlers bake the address of the machine that builds into a bare `import.meta.url`.
  return createRequire(new URL('./worker.js', import.meta.url))(name) as DawnModule
}
