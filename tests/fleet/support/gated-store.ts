import type { FleetStore } from 'heddle/fleet'

/** A store whose reads of one file stop at a gate, so that a test can act while a job is in the middle of its work. */
export interface GatedStore extends FleetStore {
  /** settles when a read has come to the gate */
  readonly reached: Promise<void>
  open(): void
}

export function gatedStore(store: FleetStore, file: string): GatedStore {
  let open = (): void => undefined
  let reach = (): void => undefined
  const gate = new Promise<void>((resolve) => (open = resolve))
  const reached = new Promise<void>((resolve) => (reach = resolve))
  return {
    ...store,
    reached,
    open,
    read: async (path, start, end, signal) => {
      if (path === file) {
        reach()
        await new Promise<void>((resolve, reject) => {
          void gate.then(resolve)
          if (signal?.aborted === true) reject(signal.reason as Error)
          signal?.addEventListener('abort', () => reject(signal.reason as Error))
        })
      }
      return store.read(path, start, end, signal)
    },
  }
}
