import type { GpuDevice } from './gpu-device.ts'

/** A submit should take this long: no watchdog fires, an abort waits no longer, and the overhead disappears. */
const TARGET_MS = 70
const FIRST_MULTIPLY_ADDS = 2e7
/** One jump in the estimate is bounded: a short first pass measures mostly overhead. */
const GROWTH = 8
const IN_FLIGHT = 2

/** Sizes submits by the time that earlier ones took, and keeps at most two in flight. */
export class PassPacer {
  #multiplyAdds = FIRST_MULTIPLY_ADDS
  #lastDoneMs = 0
  #pending: Promise<void>[] = []

  /** Multiply-adds that the next submit should hold. */
  get multiplyAdds(): number {
    return this.#multiplyAdds
  }

  /** Submits and notes how long it takes; waits first while two are in flight. */
  async submit(gpu: GpuDevice, commands: GPUCommandBuffer, multiplyAdds: number): Promise<void> {
    while (this.#pending.length >= IN_FLIGHT) await this.#pending[0]
    const startMs = performance.now()
    gpu.device.queue.submit([commands])
    const done: Promise<void> = gpu.race(gpu.device.queue.onSubmittedWorkDone()).then(() => {
      const nowMs = performance.now()
      this.#measure(multiplyAdds, nowMs - Math.max(startMs, this.#lastDoneMs))
      this.#lastDoneMs = nowMs
    })
    const settled = done.finally(() => {
      this.#pending = this.#pending.filter((other) => other !== settled)
    })
    settled.catch(() => undefined)
    this.#pending.push(settled)
  }

  /** Waits for all that was submitted. */
  async drain(): Promise<void> {
    await Promise.all(this.#pending)
  }

  #measure(multiplyAdds: number, elapsedMs: number): void {
    const fitting = (multiplyAdds * TARGET_MS) / Math.max(elapsedMs, 0.5)
    // A pass that was small because its rows are few says little about larger ones: it may only raise the estimate.
    if (multiplyAdds * 4 < this.#multiplyAdds && fitting < this.#multiplyAdds) return
    this.#multiplyAdds = Math.min(Math.max(fitting, this.#multiplyAdds / GROWTH, 1e5), this.#multiplyAdds * GROWTH)
  }
}
