/**
 * As the npm package `abort-controller` makes it, from before signals had a reason: no `reason`, no `throwIfAborted`.
 */
class OldSignal extends EventTarget {
  aborted = false
}

export class OldController {
  readonly signal = new OldSignal() as unknown as AbortSignal

  abort(): void {
    Object.assign(this.signal, { aborted: true })
    this.signal.dispatchEvent(new Event('abort'))
  }
}
