import { formatDuration } from './format.ts'
import type { OutputStream } from './terminal.ts'

export interface ProgressStep {
  readonly done: number
  readonly total: number
  readonly elapsedMs: number
  readonly remainingMs: number
}

const WIDTH = 28
const SHORTEST = 5
const EIGHTHS = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉']

/** Between two steps time goes on all the same. */
const TICK_MS = 200

/** One line that is rewritten in place on a terminal; elsewhere nothing is written. */
export class ProgressBar {
  #shown = false
  #timer: NodeJS.Timeout | undefined

  constructor(
    private readonly stream: OutputStream,
    private readonly label: string,
  ) {}

  /** @param label the text before the bar now */
  update(step: ProgressStep, label = this.label): void {
    if (this.stream.isTTY !== true) return
    clearInterval(this.#timer)
    this.#write(step, label)
    const startMs = performance.now()
    this.#timer = setInterval(() => this.#write(laterBy(performance.now() - startMs, step), label), TICK_MS).unref()
  }

  #write(step: ProgressStep, label: string): void {
    // A terminal that does not know its width says 0.
    const columns = (this.stream.columns || 80) - 1
    this.stream.write(`\r\u001b[2K${progressLine(label, step, columns).slice(0, columns)}`)
    this.#shown = true
  }

  /** Takes the line away. */
  clear(): void {
    clearInterval(this.#timer)
    if (this.#shown) this.stream.write('\r\u001b[2K')
    this.#shown = false
  }
}

function laterBy(ms: number, { elapsedMs, remainingMs, ...step }: ProgressStep): ProgressStep {
  return { ...step, elapsedMs: elapsedMs + ms, remainingMs: Math.max(0, remainingMs - ms) }
}

/**
 * `label ███████▌      37 %  1.2 s, 2.1 s left`. Within `columns` the bar makes room for the figures, and is left out
 * where it would be too short to show anything.
 */
export function progressLine(
  label: string,
  { done, total, elapsedMs, remainingMs }: ProgressStep,
  columns = Infinity,
): string {
  const share = total > 0 ? Math.min(1, done / total) : 1
  const estimate = done < total ? `, ${formatDuration(remainingMs)} left` : ''
  const figures = `${String(Math.floor(share * 100)).padStart(3)} %  ${formatDuration(elapsedMs)}${estimate}`
  const width = Math.min(WIDTH, columns - label.length - figures.length - 2)
  if (width < SHORTEST) return `${label} ${figures}`
  const eighths = Math.floor(share * width * 8)
  const bar = '█'.repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? '')
  return `${label} ${bar.padEnd(width, '·')} ${figures}`
}
