import { readFile, rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { HeddleError } from '../../index.ts'
import { readCheckpoint } from '../../train/index.ts'
import { UsageError } from '../usage-error.ts'
import { isTask, readSettings, type TaskName, type TrainSettings } from './train-settings.ts'

/** Where a run keeps what it makes. */
export interface TrainFiles {
  /** of the report's files, without ending */
  readonly name: string
  readonly checkpoint: string
  readonly model: string
  readonly log: string
}

export function trainFiles(folder: string, task: TaskName): TrainFiles {
  const name = `train-${task}`
  return {
    name,
    checkpoint: path.join(folder, `${name}-checkpoint.safetensors`),
    model: path.join(folder, `${name}.safetensors`),
    log: path.join(folder, `${name}.jsonl`),
  }
}

/** Writes a file as a whole: whoever stops the process in between leaves the old one. */
export async function writeWhole(file: string, bytes: Uint8Array): Promise<void> {
  await writeFile(`${file}.new`, bytes)
  await rename(`${file}.new`, file)
}

/** What a run needs to go on: the checkpoint's bytes, and what the command stored beside it. */
export interface SavedRun {
  readonly bytes: Uint8Array
  readonly step: number
  readonly settings: TrainSettings
  readonly dataHash: string
}

/** The strings in a checkpoint of this command. */
export function runMetadata(
  settings: TrainSettings,
  dataHash: string,
  model: object,
  pieces: readonly string[] | null,
): Record<string, string> {
  return {
    settings: JSON.stringify(settings),
    dataHash,
    model: JSON.stringify(model),
    ...(pieces === null ? {} : { pieces: JSON.stringify(pieces) }),
  }
}

/** @throws {UsageError} when the file cannot be read, or is no checkpoint of `heddle train` */
export async function readSavedRun(file: string): Promise<SavedRun> {
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new UsageError(
      `--resume: expected a checkpoint that can be read, got '${file}' (${cause.code ?? 'unreadable'})`,
      { cause },
    )
  })
  try {
    const { metadata, progress } = await readCheckpoint(bytes)
    const settings = savedSettings(metadata['settings'], file)
    return { bytes, step: progress.step, settings, dataHash: metadata['dataHash'] ?? '' }
  } catch (cause) {
    if (!(cause instanceof HeddleError)) throw cause
    throw new UsageError(`--resume: expected a whole checkpoint, got '${file}' (${cause.message})`, { cause })
  }
}

/** @throws {UsageError} unless they are those of this version of the command, by name */
function savedSettings(text: string | undefined, file: string): TrainSettings {
  const settings = parsed(text)
  if (settings === undefined || !isTask(settings.task ?? ''))
    throw new UsageError(`--resume: expected a checkpoint of 'heddle train', got one of another program: '${file}'`)
  const [own, given] = [Object.keys(readSettings({})), Object.keys(settings)]
  const missing = own.filter((name) => !given.includes(name))
  const unknown = given.filter((name) => !own.includes(name))
  const complaints = [
    ...(missing.length > 0 ? [`missing ${missing.join(', ')}`] : []),
    ...(unknown.length > 0 ? [`unknown ${unknown.join(', ')}`] : []),
  ]
  if (complaints.length > 0)
    throw new UsageError(`--resume: expected the settings of this version; ${complaints.join('; ')}`)
  return settings as TrainSettings
}

function parsed(text: string | undefined): Partial<TrainSettings> | undefined {
  try {
    const value: unknown = JSON.parse(text ?? '')
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}
