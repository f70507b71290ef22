/**
 * Abort signals of this host and of polyfills: the npm package `abort-controller` has neither `reason` nor
 * `throwIfAborted`.
 */

/** Why the signal was aborted: its reason, or the AbortError that hosts use where there is none. */
export function abortReason(signal: AbortSignal): unknown {
  const reason: unknown = signal.reason
  return reason === undefined ? new DOMException('This operation was aborted', 'AbortError') : reason
}

/** @throws the signal's reason, after an abort */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw abortReason(signal)
}

/**
 * What waits for each signal. Hosts warn of a leak when one signal has more than ten listeners: each has one of ours.
 */
const waiting = new WeakMap<AbortSignal, { readonly listeners: Set<() => void>; readonly onAbort: () => void }>()

/** Calls `listener` when the signal aborts. Returns what stops that. */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return () => undefined
  const entry = waiting.get(signal) ?? listenTo(signal)
  // A function of its own, so that the same listener may wait twice.
  const own = (): void => listener()
  entry.listeners.add(own)
  return () => {
    entry.listeners.delete(own)
    if (entry.listeners.size > 0 || waiting.get(signal) !== entry) return
    waiting.delete(signal)
    signal.removeEventListener('abort', entry.onAbort)
  }
}

function listenTo(signal: AbortSignal): { readonly listeners: Set<() => void>; readonly onAbort: () => void } {
  const listeners = new Set<() => void>()
  const entry = { listeners, onAbort: () => listeners.forEach((listener) => listener()) }
  waiting.set(signal, entry)
  signal.addEventListener('abort', entry.onAbort)
  return entry
}

/** What `promise` comes to, unless the signal aborts first: then its reason. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise
  return new Promise((resolve, reject) => {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a caller may abort with any reason
    const abort = (): void => reject(abortReason(signal))
    if (signal.aborted) abort()
    const forget = onAbort(signal, abort)
    promise.then(resolve, reject).finally(forget)
  })
}
