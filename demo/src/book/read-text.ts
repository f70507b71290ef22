import type { ReadAnswer, ReadRequest, ReadText } from './messages.ts'

/**
 * Reads a text in a worker of its own, which ends with it.
 *
 * @throws when the text cannot be had, the worker does not start, or the signal aborts
 */
export function readText(request: ReadRequest, signal: AbortSignal): Promise<ReadText> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL('./read-text.worker.ts', import.meta.url), { type: 'module' })
    const settle = (act: () => void): void => {
      worker.terminate()
      act()
    }
    signal.addEventListener('abort', () => settle(() => reject(signal.reason as Error)), { once: true })
    worker.addEventListener('error', ({ message }) =>
      settle(() => reject(new Error(message === '' ? 'the worker did not start' : message))),
    )
    worker.addEventListener('message', ({ data }: MessageEvent<ReadAnswer>) =>
      settle(() => ('ok' in data ? resolve(data.ok) : reject(new Error(data.failure)))),
    )
    worker.postMessage(request)
  })
}
