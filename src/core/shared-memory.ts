/** Whether this thread can make memory that other threads see, and if not, why. */
export interface SharedMemoryProbe {
  readonly available: boolean
  readonly reason?: string
}

/** Probes SharedArrayBuffer. Browsers have it only on pages that are cross-origin isolated (COOP and COEP headers). */
export function probeSharedMemory(): SharedMemoryProbe {
  if (typeof SharedArrayBuffer === 'undefined') {
    return {
      available: false,
      reason: 'SharedArrayBuffer is missing: the page is not cross-origin isolated (COOP and COEP headers)',
    }
  }
  const isolated: unknown = (globalThis as { crossOriginIsolated?: unknown }).crossOriginIsolated
  if (isolated === false && typeof document !== 'undefined') {
    return {
      available: false,
      reason:
        'the page is not cross-origin isolated (COOP and COEP headers), so SharedArrayBuffer cannot be sent to workers',
    }
  }
  return { available: true }
}

/** Whether an array's buffer is shared between threads. */
export function isShared(array: ArrayBufferView): boolean {
  return isSharedBuffer(array.buffer)
}

export function isSharedBuffer(buffer: ArrayBufferLike): boolean {
  return typeof SharedArrayBuffer !== 'undefined' && buffer instanceof SharedArrayBuffer
}
