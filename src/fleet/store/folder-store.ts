import { randomUUID } from 'node:crypto'
import { mkdir, open, realpath, rename, rm, stat, writeFile, type FileHandle } from 'node:fs/promises'
import path from 'node:path'
import { throwIfAborted } from '../../core/abort.ts'
import { expected } from '../../core/check.ts'
import { StoreError } from '../../core/errors.ts'
import { checkRead, checkStorePath, type FleetStore } from './fleet-store.ts'

/**
 * A folder that every host sees, on a network file system or on one machine. Nothing outside of it is read or written:
 * a symbolic link that leads out is refused. A file is written beside its place and renamed.
 *
 * @param folder must exist
 * @returns a store whose calls throw a `StoreError` with the system's error as its cause
 * @throws {OptionError} when `folder` is no path
 */
export function folderStore(folder: string): FleetStore {
  if (typeof folder !== 'string' || folder === '') throw expected('folderStore: folder', 'a path', folder)
  const root = path.resolve(folder)
  return {
    stat: (file) =>
      attempt('look at', file, async () => {
        const { size, mtimeMs } = await stat(await insideOf(root, file))
        return { bytes: size, tag: `${size}-${mtimeMs}` }
      }).catch(undefinedIfMissing),
    read: (file, start, end, signal) =>
      attempt('read', file, async () => {
        const handle = await open(await insideOf(root, file), 'r')
        return readRange(handle, start, end, signal).finally(() => handle.close())
      }).then((bytes) => checkRead(file, bytes, start, end)),
    write: (file, bytes) => attempt('write', file, () => writeWhole(root, file, bytes)),
    remove: (file) => attempt('remove', file, async () => rm(await insideOf(root, file))).catch(undefinedIfMissing),
  }
}

/** Reads in steps, so that an abort need not wait for a large range. */
const STEP_BYTES = 16 * 1024 * 1024

async function readRange(handle: FileHandle, start: number, end: number, signal?: AbortSignal): Promise<Uint8Array> {
  const { size } = await handle.stat()
  const bytes = new Uint8Array(Math.max(0, Math.min(end, size) - start))
  let filled = 0
  while (filled < bytes.length) {
    throwIfAborted(signal)
    const { bytesRead } = await handle.read(bytes, filled, Math.min(STEP_BYTES, bytes.length - filled), start + filled)
    if (bytesRead === 0) return bytes.subarray(0, filled)
    filled += bytesRead
  }
  return bytes
}

async function writeWhole(root: string, file: string, bytes: Uint8Array): Promise<void> {
  checkStorePath('store', file)
  const folder = await makeFolder(root, path.dirname(file))
  const target = path.join(folder, path.basename(file))
  const partial = `${path.dirname(target)}/.${randomUUID()}.part`
  try {
    await writeFile(partial, bytes)
    await rename(partial, target)
  } catch (error) {
    await rm(partial, { force: true })
    throw error
  }
}

/**
 * Makes the folders of a path one by one, each only where the one before is inside. @returns the last one's real path
 */
async function makeFolder(root: string, relative: string): Promise<string> {
  const parts = relative === '.' ? [] : relative.split('/')
  let real = await insideOf(root, '')
  for (let depth = 1; depth <= parts.length; depth++) {
    await mkdir(path.join(real, parts[depth - 1] ?? '')).catch(ignoreIfThere)
    real = await insideOf(root, parts.slice(0, depth).join('/'))
  }
  return real
}

function ignoreIfThere(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error
}

/** The real path of a file in the folder. @throws {StoreError} when a link leads out */
async function insideOf(root: string, file: string): Promise<string> {
  if (file !== '') checkStorePath('store', file)
  const [base, target] = await Promise.all([realpath(root), realpath(path.join(root, file))])
  if (target === base || target.startsWith(base + path.sep)) return target
  throw new StoreError(`store: expected ${file} inside the data folder, but a link leads out of it`)
}

async function attempt<Result>(verb: string, file: string, run: () => Promise<Result>): Promise<Result> {
  checkStorePath('store', file)
  try {
    return await run()
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code === undefined || cause instanceof StoreError) throw cause
    const reason = code === 'ENOSPC' ? 'ENOSPC, the disk is full' : message
    throw new StoreError(`store: could not ${verb} ${file}: ${reason}`, {
      cause,
      details: { path: file, systemCode: code },
    })
  }
}

function undefinedIfMissing(error: unknown): undefined {
  if (error instanceof StoreError && error.details['systemCode'] === 'ENOENT') return undefined
  throw error
}
