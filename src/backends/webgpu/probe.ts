import { hostGpu } from './node-gpu.ts'

/** The limits that decide how tasks are split. */
export const WANTED_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupsPerDimension',
] as const

export type GpuLimits = Readonly<Record<(typeof WANTED_LIMITS)[number], number>>

export interface WebGpuInfo {
  readonly vendor: string
  readonly architecture: string
  readonly device: string
  readonly description: string
  readonly features: readonly string[]
}

export interface WebGpuProbe {
  readonly available: boolean
  /** a software adapter: usable when asked for, never chosen by `auto` */
  readonly fallback: boolean
  readonly limits: GpuLimits | null
  readonly info: WebGpuInfo | null
  /** why it is not available, or why `auto` leaves it */
  readonly reason?: string
}

/** Asks for an adapter and describes it; makes no device, leaves nothing behind. */
export async function probeWebGpu(gpu?: GPU): Promise<WebGpuProbe> {
  const none = { available: false, fallback: false, limits: null, info: null }
  const host = gpu === undefined ? hostGpu() : { gpu }
  if (host.gpu === undefined) return { ...none, reason: host.reason ?? 'there is no WebGPU' }
  try {
    const adapter = await requestAdapter(host.gpu)
    if (adapter === null) return { ...none, reason: 'the host has WebGPU but offers no adapter' }
    const fallback = isFallback(adapter)
    const reason = fallback ? { reason: 'the adapter computes in software: auto prefers wasm' } : {}
    return { available: true, fallback, limits: limitsOf(adapter.limits), info: describeAdapter(adapter), ...reason }
  } catch (error) {
    return {
      ...none,
      reason: `asking for an adapter failed: ${error instanceof Error ? error.message : String(error)}`,
    }
  }
}

/** An adapter gives one device only, so each device starts here. */
export function requestAdapter(gpu: GPU): Promise<GPUAdapter | null> {
  return gpu.requestAdapter({ powerPreference: 'high-performance' })
}

export function isFallback(adapter: GPUAdapter): boolean {
  const info = adapter.info as { isFallbackAdapter?: boolean } | undefined
  if (info?.isFallbackAdapter !== undefined) return info.isFallbackAdapter
  return (adapter as { isFallbackAdapter?: boolean }).isFallbackAdapter === true
}

export function limitsOf(limits: GPUSupportedLimits): GpuLimits {
  return Object.fromEntries(WANTED_LIMITS.map((name) => [name, limits[name]])) as Record<
    (typeof WANTED_LIMITS)[number],
    number
  >
}

export function describeAdapter(adapter: GPUAdapter): WebGpuInfo {
  const { vendor = '', architecture = '', device = '', description = '' } = adapter.info ?? {}
  return { vendor, architecture, device, description, features: [...adapter.features].map(String).sort() }
}

/** One line for reports: vendor, architecture and description, as far as the browser tells. */
export function adapterName({ vendor, architecture, device, description }: WebGpuInfo): string {
  return (
    [vendor, architecture, description || device].filter((part) => part !== '').join(' ') || 'an undisclosed adapter'
  )
}
