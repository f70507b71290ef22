import { Pool, type PoolConfig } from '../scheduler/pool.ts'

/** A lane on the calling thread beside the workers, started at first use, for calls that are smaller than a message. */
export class CallerLane {
  readonly pool: Pool
  #opening: Promise<void> | null = null
  #usable = true

  constructor(config: PoolConfig) {
    this.pool = new Pool(config)
  }

  /** Whether it may be used: a page's policy can forbid kernels here and allow them in workers. */
  get usable(): boolean {
    return this.#usable
  }

  /** Never rejects: where it cannot start, the workers do such calls too. */
  open(): Promise<void> {
    this.#opening ??= this.pool.open().catch(() => {
      this.#usable = false
    })
    return this.#opening
  }
}
