import type { Endpoint } from 'comlink'

/** The part of node:worker_threads' `Worker` and `MessagePort` that an endpoint needs. */
export interface NodePort {
  /**
   * Sends a message to the other side.
   *
   * @param message anything that can be cloned
   * @param transfer objects that move to the other side
   */
  postMessage(message: unknown, transfer?: readonly never[]): void
  /** Listens to messages. */
  on(type: 'message', listener: (data: unknown) => void): unknown
  /**
   * Removes a listener that `on` added.
   *
   * @param type the event
   * @param listener the one that `on` was given
   */
  off(type: 'message', listener: (data: unknown) => void): unknown
  /** Begins to deliver messages; a `MessagePort` needs it. */
  start?(): void
}

/** A Comlink endpoint over a Node port: its listeners get the bare message where the web's get an event. */
export function nodeEndpoint(port: NodePort): Endpoint {
  const wrapped = new Map<EventListenerOrEventListenerObject, (data: unknown) => void>()
  return {
    postMessage: (message: unknown, transfer?: Transferable[]) => {
      port.postMessage(message, (transfer ?? []) as unknown as readonly never[])
    },
    addEventListener: (_type, listener) => {
      const onMessage = (data: unknown): void => {
        const event = { data } as MessageEvent
        if (typeof listener === 'function') listener(event)
        else listener.handleEvent(event)
      }
      wrapped.set(listener, onMessage)
      port.on('message', onMessage)
    },
    removeEventListener: (_type, listener) => {
      const onMessage = wrapped.get(listener)
      if (onMessage === undefined) return
      port.off('message', onMessage)
      wrapped.delete(listener)
    },
    start: () => port.start?.(),
  }
}
