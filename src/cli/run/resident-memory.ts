const SAMPLE_MS = 25

/**
 * Growth of the process's resident memory, in bytes, while `work` runs; sampled, so that a short peak can be missed.
 */
export async function withResidentGrowth<T>(
  work: () => Promise<T>,
): Promise<{ readonly value: T; readonly growthBytes: number }> {
  const before = process.memoryUsage.rss()
  let highest = before
  const sample = (): void => {
    highest = Math.max(highest, process.memoryUsage.rss())
  }
  const timer = setInterval(sample, SAMPLE_MS)
  try {
    const value = await work()
    sample()
    return { value, growthBytes: highest - before }
  } finally {
    clearInterval(timer)
  }
}

/** Memory that this process may still take, in bytes: what the system or its container has free. */
export function availableMemoryBytes(): number {
  return process.availableMemory()
}
