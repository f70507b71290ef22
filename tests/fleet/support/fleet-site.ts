import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import type { Tensor } from 'heddle'
import {
  createFleet,
  folderStore,
  startFleetWorker,
  type Fleet,
  type FleetEvent,
  type FleetOptions,
  type FleetStore,
  type FleetWorker,
  type FleetWorkerOptions,
} from 'heddle/fleet'
import { writeSafetensors } from 'heddle/nn'
import type { RedisServer } from './redis-server.ts'

let queues = 0

/** A queue of its own, with a data folder, and what was started on it, so that a test can end all of it. */
export class FleetSite {
  readonly queue = `test-${process.pid}-${queues++}`
  readonly events: FleetEvent[] = []
  readonly #open: { close(): Promise<void> }[] = []

  private constructor(
    readonly server: RedisServer,
    readonly folder: string,
    readonly store: FleetStore,
  ) {}

  static async open(server: RedisServer): Promise<FleetSite> {
    const folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-fleet-'))
    return new FleetSite(server, folder, folderStore(folder))
  }

  /** Writes tensors into one file of the data folder. */
  async write(file: string, tensors: Record<string, Tensor>): Promise<void> {
    await mkdir(path.dirname(path.join(this.folder, file)), { recursive: true })
    await writeFile(path.join(this.folder, file), writeSafetensors(tensors))
  }

  async fleet(options: Partial<FleetOptions> = {}): Promise<Fleet> {
    const fleet = await createFleet({ connection: this.server.url, queue: this.queue, store: this.store, ...options })
    this.#open.push(fleet)
    return fleet
  }

  async host(options: Partial<FleetWorkerOptions> = {}): Promise<FleetWorker> {
    const host = await startFleetWorker({
      connection: this.server.url,
      queue: this.queue,
      store: this.store,
      runtime: { workers: 0 },
      models: this.folder,
      lockMs: 1000,
      onEvent: (event) => this.events.push(event),
      ...options,
    })
    this.#open.push(host)
    return host
  }

  async close(): Promise<void> {
    for (const open of this.#open.reverse()) await open.close()
    await rm(this.folder, { recursive: true, force: true })
  }
}

/** Looks until `check` is true, at most ten seconds: other processes tell of nothing that could be waited for. */
export async function until(what: string, check: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 10_000
  while (!(await check())) {
    if (Date.now() > end) throw new Error(`${what}: not within ten seconds`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}
