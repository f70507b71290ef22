import { existsSync } from 'node:fs'

/** SwiftShader's Vulkan driver, where browsers' packages put it. */
const DRIVERS = [
  '/usr/lib/chromium/vk_swiftshader_icd.json',
  '/usr/lib64/chromium-browser/vk_swiftshader_icd.json',
  '/opt/google/chrome/vk_swiftshader_icd.json',
]

/** A GPU object must outlive its devices. */
const kept: GPU[] = []

/**
 * The GPU that tests in Node run on, or why there is none. A driver that the environment names is kept; else
 * SwiftShader's, if a browser brought it. Vulkan reads the variable when the first adapter is asked for. Without zeroed
 * workgroup memory, SwiftShader compiles a kernel in a tenth of the time, and a kernel that relies on zeros is found
 * out.
 */
export async function testGpu(
  flags: string[] = ['enable-dawn-features=disable_workgroup_init'],
): Promise<{ gpu?: GPU; reason?: string }> {
  const driver = DRIVERS.find((path) => existsSync(path))
  if (process.env['VK_ICD_FILENAMES'] === undefined && driver !== undefined) process.env['VK_ICD_FILENAMES'] = driver
  try {
    const dawn = (await import('webgpu')) as { create(flags: string[]): GPU }
    const gpu = dawn.create(flags)
    kept.push(gpu)
    if ((await gpu.requestAdapter()) !== null) return { gpu }
    return { reason: 'no adapter: install libvulkan1 and chromium (for its SwiftShader driver)' }
  } catch (error) {
    return { reason: String(error) }
  }
}

/**
 * A module that gives its thread such a GPU before Heddle looks for one: for workers, and for processes by
 * `NODE_OPTIONS=--import=…`.
 */
export const FAST_GPU = `data:text/javascript,${encodeURIComponent(
  `import { create } from ${JSON.stringify(import.meta.resolve('webgpu'))}
globalThis[Symbol.for('heddle.webgpu')] = create(['enable-dawn-features=disable_workgroup_init'])`,
)}`

/** Says once, visibly, that tests are skipped; fails where they must run. */
export function skipReason(found: { gpu?: GPU; reason?: string }): string | undefined {
  if (found.gpu !== undefined) return undefined
  const reason = found.reason ?? 'no adapter'
  if (process.env['HEDDLE_REQUIRE_WEBGPU'] === '1') throw new Error(`WebGPU tests must run here, but: ${reason}`)
  console.warn(`WebGPU tests in Node are skipped: ${reason}`)
  return reason
}
