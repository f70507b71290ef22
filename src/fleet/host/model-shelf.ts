import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, realpath } from 'node:fs/promises'
import path from 'node:path'
import type { Runtime } from '../../attention/runtime.ts'
import { StoreError } from '../../core/errors.ts'
import { checkStorePath } from '../store/fleet-store.ts'
import type { Embedder, EmbedderLoader } from './embedder.ts'

export interface LoadedModel {
  readonly embedder: Embedder
  /** SHA-256 over the names and contents of the model's files: part of the hash of every embedding */
  readonly fingerprint: string
}

/** The models of a host, each loaded when a job first names it. */
export class ModelShelf {
  readonly #folder: string | undefined
  readonly #load: EmbedderLoader
  readonly #runtime: Runtime
  readonly #models = new Map<string, Promise<LoadedModel>>()

  /** @param folder where the folders of models are; undefined on a host without */
  constructor(folder: string | undefined, load: EmbedderLoader, runtime: Runtime) {
    this.#folder = folder
    this.#load = load
    this.#runtime = runtime
  }

  /** @throws {StoreError} when the host has no such folder; what the loader throws */
  get(name: string): Promise<LoadedModel> {
    const known = this.#models.get(name)
    if (known !== undefined) return known
    const loading = this.#loadModel(name)
    this.#models.set(name, loading)
    // A folder that is not there yet may be there at the next try.
    loading.catch(() => this.#models.delete(name))
    return loading
  }

  async #loadModel(name: string): Promise<LoadedModel> {
    const folder = await this.#folderOf(name)
    return { fingerprint: await fingerprintOf(folder), embedder: await this.#load(folder, this.#runtime) }
  }

  async #folderOf(name: string): Promise<string> {
    checkStorePath('fleet: model', name)
    if (this.#folder === undefined)
      throw new StoreError(
        `fleet: expected a folder of the model ${name}, but the host was started without a folder of models`,
      )
    try {
      const [base, folder] = await Promise.all([realpath(this.#folder), realpath(path.join(this.#folder, name))])
      if (folder.startsWith(base + path.sep)) return folder
    } catch (cause) {
      throw new StoreError(`fleet: expected a folder of the model ${name}, but the host has none`, {
        cause,
        details: { model: name },
      })
    }
    throw new StoreError(`fleet: expected the model ${name} inside the folder of models, but a link leads out of it`)
  }
}

async function fingerprintOf(folder: string): Promise<string> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  const files = entries
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
  const hash = createHash('sha256')
  for (const file of files.sort()) {
    hash.update(JSON.stringify(file))
    for await (const bytes of createReadStream(path.join(folder, file)) as AsyncIterable<Uint8Array>) hash.update(bytes)
  }
  return hash.digest('hex')
}
