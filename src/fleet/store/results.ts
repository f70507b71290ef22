import { createHash } from 'node:crypto'
import { FormatError, StoreError } from '../../core/errors.ts'
import type { Tensor } from '../../core/tensor.ts'
import { readSafetensors, writeSafetensors } from '../../nn/state/safetensors.ts'
import type { FleetStore } from './fleet-store.ts'

/** SHA-256, in hexadecimal, of plain data or bytes: equal inputs of a job have equal hashes on every host. */
export function hashOf(inputs: unknown): string {
  const bytes = inputs instanceof Uint8Array ? inputs : JSON.stringify(inputs, sortedKeys)
  return createHash('sha256').update(bytes).digest('hex')
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Where the result of a job with these inputs is. Folders by the first two digits keep each of them small. */
export function resultPath(hash: string, extension: 'safetensors' | 'json'): string {
  return `results/${hash.slice(0, 2)}/${hash}.${extension}`
}

/** Where a document with this content is. */
export function documentPath(hash: string): string {
  return `documents/${hash.slice(0, 2)}/${hash}.txt`
}

export async function exists(store: FleetStore, path: string): Promise<boolean> {
  return (await store.stat(path)) !== undefined
}

/** A whole file. @throws {StoreError} where there is none */
export async function readWhole(store: FleetStore, path: string, signal?: AbortSignal): Promise<Uint8Array> {
  const found = await store.stat(path)
  if (found === undefined)
    throw new StoreError(`store: expected a file ${path}, but there is none`, { details: { path } })
  return store.read(path, 0, found.bytes, signal)
}

export function writeTensors(
  store: FleetStore,
  path: string,
  tensors: Readonly<Record<string, Tensor>>,
): Promise<void> {
  return store.write(path, writeSafetensors(tensors))
}

/** @throws {FormatError} when one of `names` is missing */
export async function readTensors<Name extends string>(
  store: FleetStore,
  path: string,
  names: readonly Name[],
  signal?: AbortSignal,
): Promise<Record<Name, Tensor>> {
  const { tensors } = await readSafetensors(await readWhole(store, path, signal))
  const missing = names.filter((name) => !(tensors[name]?.data instanceof Float32Array))
  if (missing.length > 0)
    throw new FormatError(
      `store: expected float tensors ${names.join(', ')} in ${path}, but it lacks ${missing.join(', ')}`,
    )
  return tensors as Record<Name, Tensor>
}
