import { throwIfAborted } from '../core/abort.ts'
import { FormatError, OptionError } from '../core/errors.ts'
import { nodeModule } from '../core/node-module.ts'
import { describe } from '../core/tensor.ts'
import type { ByteSource } from '../nn/state/byte-reader.ts'

/**
 * Where a model's files are: a folder (in Node), an address that they stand under (http or https; `fetch` is called for
 * nothing else), a list of files as a file input gives them, or a function from a file's name to its bytes.
 */
export type ModelSource =
  string | URL | readonly File[] | FileList | ((name: string) => MaybeBytes | Promise<MaybeBytes>)

/** A file's content, or nothing where there is no such file. */
export type MaybeBytes = ByteSource | null | undefined

/** The files of a model by their names. */
export interface ModelFiles {
  /** what it is, for messages */
  readonly place: string
  /** null where there is no such file */
  open(name: string, signal?: AbortSignal): Promise<ByteSource | null>
}

/** @throws {OptionError} when it is nothing that files can be read from */
export function modelFiles(source: ModelSource): ModelFiles {
  if (typeof source === 'function') return { place: 'the source', open: async (name) => (await source(name)) ?? null }
  if (source instanceof URL || (typeof source === 'string' && /^https?:\/\//.test(source)))
    return remoteFiles(String(source))
  if (typeof source === 'string') return folderFiles(source)
  if (typeof source === 'object' && source !== null && 'length' in source)
    return listedFiles(Array.from(source as ArrayLike<File>))
  throw new OptionError(
    `loadModel: expected a folder, an address, a list of files or a function, got ${describe(source)}`,
  )
}

/**
 * Files of a file input; those of a folder have a path, of which the last part counts where it is told apart by that.
 */
function listedFiles(files: readonly File[]): ModelFiles {
  for (const file of files)
    if (typeof (file as Partial<File> | null)?.name !== 'string')
      throw new OptionError(`loadModel: expected a list of files, got ${describe(file)} in it`)
  const find = (name: string): File | undefined =>
    files.find((file) => file.webkitRelativePath?.endsWith(`/${name}`)) ?? files.find((file) => file.name === name)
  return { place: `the ${files.length} files`, open: (name) => Promise.resolve(find(name) ?? null) }
}

function remoteFiles(base: string): ModelFiles {
  const folder = base.endsWith('/') ? base : `${base}/`
  const open = async (name: string, signal?: AbortSignal): Promise<ByteSource | null> => {
    const response = await fetch(new URL(name, folder), signal === undefined ? {} : { signal })
    if (response.status === 404) return null
    if (!response.ok)
      throw new FormatError(`loadModel: expected ${name} from ${folder}, got HTTP status ${response.status}`)
    return response.body ?? new Uint8Array(await response.arrayBuffer())
  }
  return { place: folder, open }
}

interface FileSystem {
  stat(path: string): Promise<{ readonly size: number; isFile(): boolean }>
  open(path: string): Promise<FileHandle>
}

interface FileHandle {
  read(buffer: Uint8Array, offset: number, length: number): Promise<{ bytesRead: number }>
  close(): Promise<void>
}

function folderFiles(folder: string): ModelFiles {
  const files = nodeModule('node:fs/promises') as FileSystem | undefined
  if (files === undefined)
    throw new OptionError(
      `loadModel: expected an address, files or a function outside of Node, got the folder ${JSON.stringify(folder)}`,
    )
  const open = async (name: string): Promise<ByteSource | null> => {
    const path = `${folder}/${name}`
    const found = await files.stat(path).catch(() => null)
    if (found?.isFile() !== true) return null
    return { byteLength: found.size, [Symbol.asyncIterator]: () => chunksOf(files, path) }
  }
  return { place: folder, open }
}

const FILE_CHUNK_BYTES = 1 << 22

/** A file in chunks, each an array of its own. */
async function* chunksOf(files: FileSystem, path: string): AsyncGenerator<Uint8Array> {
  const handle = await files.open(path)
  try {
    for (;;) {
      const chunk = new Uint8Array(FILE_CHUNK_BYTES)
      const { bytesRead } = await handle.read(chunk, 0, chunk.length)
      if (bytesRead === 0) return
      yield chunk.subarray(0, bytesRead)
    }
  } finally {
    await handle.close()
  }
}

/** A small file's text, or null where there is none. */
export async function readText(files: ModelFiles, name: string, signal?: AbortSignal): Promise<string | null> {
  throwIfAborted(signal)
  const source = await files.open(name, signal)
  if (source === null) return null
  const bytes = await new Response(await asBody(source)).arrayBuffer()
  return new TextDecoder().decode(bytes)
}

/** A JSON file, or null where there is none. @throws {FormatError} when it is no JSON */
export async function readJson(files: ModelFiles, name: string, signal?: AbortSignal): Promise<unknown> {
  const text = await readText(files, name, signal)
  if (text === null) return null
  try {
    return JSON.parse(text) as unknown
  } catch (cause) {
    throw new FormatError(`loadModel: expected ${name} to be JSON, got ${JSON.stringify(text.slice(0, 40))}`, { cause })
  }
}

async function asBody(source: ByteSource): Promise<BodyInit> {
  if (typeof source === 'object' && source !== null && Symbol.asyncIterator in source && !('getReader' in source)) {
    const parts: Uint8Array<ArrayBuffer>[] = []
    for await (const part of source) parts.push(part as Uint8Array<ArrayBuffer>)
    return new Blob(parts)
  }
  return source as BodyInit
}
