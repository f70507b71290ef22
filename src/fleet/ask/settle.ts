import { abortReason, onAbort, throwIfAborted } from '../../core/abort.ts'

/** `work`, or the reason of the first signal that aborts before it settles. */
export async function settle<Result>(work: Promise<Result>, ...signals: readonly (AbortSignal | undefined)[]): Promise<Result> {
  // Whoever is not waited for any more may fail without anyone hearing of it.
  work.catch(() => undefined)
  for (const signal of signals) throwIfAborted(signal)
  const stops: (() => void)[] = []
  try {
    const aborted = new Promise<never>((_, reject) => {
      for (const signal of signals) if (signal !== undefined) stops.push(onAbort(signal, () => reject(abortReason(signal) as Error)))
    })
    return await Promise.race([work, aborted])
  } finally {
    for (const stop of stops) stop()
  }
}
