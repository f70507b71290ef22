import { probeWasm } from '../backends/wasm/probe.ts'
import type { WebGpuProbe } from '../backends/webgpu/probe.ts'
import { nodeModule } from '../core/node-module.ts'
import { probeSharedMemory } from '../core/shared-memory.ts'
import type { Fallback } from '../protocol/messages.ts'

/**
 * What this host can do. `reasons` says, by the same names, why something is off; `reasons.auto` why `backend: 'auto'`
 * took its lanes.
 */
export interface Capabilities {
  /** 128-bit WebAssembly SIMD */
  readonly simd: boolean
  /** fused multiply-add and friends: faster, and with other roundings on other machines */
  readonly relaxedSimd: boolean
  /** memory shared between threads */
  readonly threads: boolean
  /** whether workers can be started */
  readonly workers: boolean
  /** logical processors */
  readonly cores: number
  /** the adapter, its limits and features; in Node it is looked at only where a GPU lane was asked for */
  readonly webgpu: Omit<WebGpuProbe, 'reason'>
  /** why something is off, by its name */
  readonly reasons: Readonly<Record<string, string>>
}

/**
 * Probes the host; starts nothing that lasts. @param askGpu whether to look for a GPU also where that means to load a
 * package
 */
export async function probeCapabilities(askGpu: boolean): Promise<Capabilities> {
  const wasm = probeWasm()
  const shared = probeSharedMemory()
  const reasons: Record<string, string> = {}
  if (!wasm.simd) reasons['simd'] = wasm.reason ?? 'the engine has no WebAssembly SIMD'
  if (!wasm.relaxedSimd)
    reasons['relaxedSimd'] =
      'the engine has no relaxed SIMD (Node has it from version 21 on, or behind --experimental-wasm-relaxed-simd)'
  if (!shared.available) reasons['threads'] = shared.reason ?? 'SharedArrayBuffer is missing'
  const workers = typeof Worker !== 'undefined' || nodeModule('node:worker_threads') !== undefined
  if (!workers)
    reasons['workers'] = 'the host has neither Worker nor process.getBuiltinModule (Node has it from 20.16 and 22.3 on)'
  const { reason: gpuReason, ...webgpu } = await probeGpu(askGpu)
  if (gpuReason !== undefined) reasons['webgpu'] = gpuReason
  return {
    simd: wasm.simd,
    relaxedSimd: wasm.relaxedSimd,
    threads: shared.available,
    workers,
    cores: coreCount(),
    webgpu,
    reasons,
  }
}

async function probeGpu(askGpu: boolean): Promise<WebGpuProbe> {
  const inBrowser = (globalThis as { navigator?: { gpu?: unknown } }).navigator?.gpu !== undefined
  if (askGpu || inBrowser) return (await import('../backends/webgpu/probe.ts')).probeWebGpu()
  const reason =
    'not looked for: in Node a GPU lane is made only for backend "webgpu" or { webgpu: n }, by the optional package "webgpu"'
  return { available: false, fallback: false, limits: null, info: null, reason }
}

/** What a caller asked for, or left to Heddle. */
export interface HostWishes {
  readonly numerics: 'fast' | 'portable'
  readonly sharedMemory: boolean
  readonly workers: boolean
}

/** What will run otherwise than it was asked for, as fallbacks for reports. */
export function hostFallbacks(capabilities: Capabilities, { numerics, sharedMemory, workers }: HostWishes): Fallback[] {
  const fallbacks: Fallback[] = []
  if (numerics === 'fast' && !capabilities.relaxedSimd)
    fallbacks.push({ what: 'plain SIMD in place of relaxed SIMD', reason: capabilities.reasons['relaxedSimd'] ?? '' })
  if (sharedMemory && !capabilities.threads)
    fallbacks.push({
      what: 'transferred copies in place of shared memory',
      reason: capabilities.reasons['threads'] ?? '',
    })
  if (workers && !capabilities.workers) fallbacks.push(onCallingThread(capabilities.reasons['workers']))
  return fallbacks
}

/** What reports say where no worker runs, though none was asked not to. */
export function onCallingThread(reason = ''): Fallback {
  return { what: 'the calling thread in place of workers', reason }
}

/** The machine's memory in bytes, where the host tells it exactly; browsers do not, nor Deno without `--allow-sys`. */
export function machineMemoryBytes(): number | undefined {
  const os = nodeModule('node:os') as { totalmem?: () => number } | undefined
  const { process } = globalThis as { process?: { constrainedMemory?: () => number } }
  const total = ifAllowed(() => os?.totalmem?.())
  const constrained = ifAllowed(() => process?.constrainedMemory?.())
  if (total === undefined) return undefined
  return constrained !== undefined && constrained > 0 ? Math.min(total, constrained) : total
}

function coreCount(): number {
  const os = nodeModule('node:os') as { availableParallelism?: () => number } | undefined
  const { navigator } = globalThis as { navigator?: { hardwareConcurrency?: number } }
  return Math.max(1, ifAllowed(() => os?.availableParallelism?.()) ?? navigator?.hardwareConcurrency ?? 1)
}

/** What the host answers; undefined where it does not let this program ask. */
function ifAllowed<T>(ask: () => T): T | undefined {
  try {
    return ask()
  } catch {
    return undefined
  }
}
