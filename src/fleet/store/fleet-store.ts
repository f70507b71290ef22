import { OptionError, StoreError } from '../../core/errors.ts'
import { describe } from '../../core/tensor.ts'

/** What a store knows about a file without reading it. */
export interface StoredFile {
  /** size of the file */
  readonly bytes: number
  /**
   * Changes when the content does; the same on every host. Of a folder: size and modification time. Over HTTP: the
   * ETag.
   */
  readonly tag: string
}

/**
 * Where tensors, documents and results are. Every host of a fleet sees the same files under the same paths. Paths are
 * relative, of letters, digits and `._-`, with `/` between their parts, none of which starts with a dot.
 */
export interface FleetStore {
  /**
   * Size and tag of a file.
   *
   * @param path the file's path in the store
   * @returns undefined where there is no such file
   * @throws {StoreError} when the store does not answer
   */
  stat(path: string): Promise<StoredFile | undefined>
  /**
   * Bytes [start, end) of a file: all of them or none.
   *
   * @param path the file's path in the store
   * @param start the first byte
   * @param end one past the last byte
   * @param signal an abort rejects with its reason
   * @throws {StoreError} where there is no such file, or it is shorter
   */
  read(path: string, start: number, end: number, signal?: AbortSignal): Promise<Uint8Array>
  /**
   * Writes a whole file, so that a reader sees it complete or not at all.
   *
   * @param path the file's path in the store
   * @param bytes its whole content
   * @throws {StoreError}
   */
  write(path: string, bytes: Uint8Array): Promise<void>
  /**
   * Does nothing where there is no such file.
   *
   * @param path the file's path in the store
   * @throws {StoreError}
   */
  remove(path: string): Promise<void>
}

/**
 * Parts of letters, digits and `._-`, none of which starts with a dot: that rules out `..`, `~`, drives and hidden
 * files.
 */
const PATH = /^[\p{L}\p{N}_-][\p{L}\p{N}._-]*(?:\/[\p{L}\p{N}_-][\p{L}\p{N}._-]*)*$/u
const MAX_PATH_LENGTH = 1024

/**
 * The path rule of every store. Whatever comes from a job is held against it before anything is opened.
 *
 * @throws {OptionError} for absolute paths, `..`, hidden files and whatever else is no plain relative path
 */
export function checkStorePath(what: string, path: unknown): asserts path is string {
  if (typeof path === 'string' && path.length <= MAX_PATH_LENGTH && PATH.test(path)) return
  throw new OptionError(
    `${what}: expected a relative path of letters, digits, '_', '-' and '.', whose parts do not start with a dot, got ${describe(path)}`,
  )
}

/** @throws {StoreError} unless `bytes` are as many as were asked for */
export function checkRead(path: string, bytes: Uint8Array, start: number, end: number): Uint8Array {
  if (bytes.length === end - start) return bytes
  throw new StoreError(`store: expected ${end - start} bytes of ${path} from byte ${start}, got ${bytes.length}`)
}
