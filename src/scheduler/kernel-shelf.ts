import { laterKernelsOf, type Kernels, type LaterKernels, type SentKernels } from '../protocol/messages.ts'
import type { Job } from './job.ts'

export type LoadKernels = (name: LaterKernels) => Promise<Kernels>

/** The kernels that a pool sends to its lanes with tasks, loaded when a job first needs them. */
export class KernelShelf {
  readonly #kernels = new Map<LaterKernels, Kernels>()

  /** @param load absent where lanes bring all of their kernels */
  constructor(private readonly load: LoadKernels | undefined) {}

  get kernels(): SentKernels {
    return Object.fromEntries(this.#kernels)
  }

  /** What must be loaded before the job can run. */
  missing({ tasks }: Job): LaterKernels[] {
    if (this.load === undefined) return []
    const names = new Set(tasks.flatMap((jobTask) => jobTask.tasks.flatMap(laterKernelsOf)))
    return [...names].filter((name) => !this.#kernels.has(name))
  }

  /** @throws {BackendUnavailableError} where they cannot be loaded; they can be asked for again */
  async fetch(names: readonly LaterKernels[]): Promise<void> {
    for (const name of names) {
      const kernels = await this.load?.(name)
      if (kernels !== undefined) this.#kernels.set(name, kernels)
    }
  }
}
