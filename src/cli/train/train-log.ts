import { appendFile, readFile, writeFile } from 'node:fs/promises'
import type { TrainStep } from '../../train/index.ts'

/** One step, as the log holds it: a JSON object per line. */
export interface LogEntry {
  readonly step: number
  readonly loss: number
  readonly learningRate: number
  readonly gradientNorm: number
  readonly tokensPerSecond: number
  readonly elapsedMs: number
  /** where the step was evaluated */
  readonly heldOutLoss?: number
}

export function logEntry({
  step,
  loss,
  learningRate,
  gradientNorm,
  tokensPerSecond,
  elapsedMs,
  evaluation,
}: TrainStep): LogEntry {
  return {
    step,
    loss,
    learningRate,
    gradientNorm,
    tokensPerSecond,
    elapsedMs,
    ...(evaluation === undefined ? {} : { heldOutLoss: evaluation.loss }),
  }
}

/** Steps as they are made, in memory and in a file. */
export class TrainLog {
  readonly #entries: LogEntry[]
  #unwritten: LogEntry[] = []

  private constructor(
    readonly path: string,
    entries: readonly LogEntry[],
  ) {
    this.#entries = [...entries]
  }

  /** A log in `path` that begins with the file's entries up to `step`, for a run that goes on there. */
  static async open(path: string, step: number): Promise<TrainLog> {
    const kept = step === 0 ? [] : await readEntries(path, step)
    await writeFile(path, asLines(kept))
    return new TrainLog(path, kept)
  }

  get entries(): readonly LogEntry[] {
    return this.#entries
  }

  add(entry: LogEntry): void {
    this.#entries.push(entry)
    this.#unwritten.push(entry)
  }

  /** Writes what is new. */
  async flush(): Promise<void> {
    const lines = asLines(this.#unwritten)
    this.#unwritten = []
    await appendFile(this.path, lines)
  }
}

/** Entries of an earlier run; a log that is gone or damaged only means shorter curves. */
async function readEntries(path: string, lastStep: number): Promise<LogEntry[]> {
  const text = await readFile(path, 'utf8').catch(() => '')
  const entries: LogEntry[] = []
  for (const line of text.split('\n')) {
    const entry = parsedEntry(line)
    if (entry !== undefined && entry.step <= lastStep) entries.push(entry)
  }
  return entries
}

function parsedEntry(line: string): LogEntry | undefined {
  try {
    const entry = JSON.parse(line) as LogEntry
    return Number.isInteger(entry.step) && typeof entry.loss === 'number' ? entry : undefined
  } catch {
    return undefined
  }
}

function asLines(entries: readonly LogEntry[]): string {
  return entries.map((entry) => `${JSON.stringify(entry)}\n`).join('')
}
