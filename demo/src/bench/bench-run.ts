import type { Runtime } from 'heddle'
import { turn } from '../turn.ts'
import type { BenchPoint, Mode } from './bench-result.ts'
import type { TfjsAnswer, TfjsRequest } from './tfjs.worker.ts'

const SIZE = 64
const REPEATS = 3
/** A call that takes longer is measured once. */
const REPEAT_BELOW_MS = 1000
/** The modes that make the matrix stop before one that would take longer or be larger. */
const LONGEST_MS = 8000
const LARGEST_MATRIX_BYTES = 2 ** 30
/** Of the mean of |output|: float32 in different orders. */
const TOLERANCE = 1e-4

export interface BenchStep {
  readonly done: number
  readonly total: number
  readonly mode: Mode
  readonly tokens: number
}

interface Called {
  readonly output: Float32Array
  readonly elapsedMs: number
  readonly peakBytes: number
}

type Call = (rows: Float32Array, tokens: number) => Promise<Called>

/**
 * Times attention of 1,024 and more tokens over themselves, in each mode. Answers are compared before anything is
 * timed.
 *
 * @throws when two modes disagree, a mode fails, or the signal aborts
 */
export async function runBench(
  runtime: Runtime,
  lengths: readonly number[],
  options: {
    readonly signal: AbortSignal
    readonly onPoint: (point: BenchPoint) => void
    readonly onStep: (step: BenchStep) => void
  },
): Promise<void> {
  const { signal, onPoint, onStep } = options
  const peer = new TfjsPeer(signal)
  const calls: Readonly<Record<Mode, Call>> = {
    chunked: heddleCall(runtime, 'chunked', signal),
    standard: heddleCall(runtime, 'standard', signal),
    tfjs: (rows, tokens) => peer.call(rows, tokens),
  }
  try {
    const modes = Object.keys(calls) as Mode[]
    await compare(modes.map((mode) => calls[mode]))
    const last: Partial<Record<Mode, BenchPoint>> = {}
    for (const [index, tokens] of lengths.entries()) {
      const rows = await randomRows(tokens)
      for (const [place, mode] of modes.entries()) {
        onStep({ done: index * modes.length + place, total: lengths.length * modes.length, mode, tokens })
        if (mode !== 'chunked' && isTooLarge(last[mode], tokens)) continue
        const point = { mode, tokens, ...(await measure(calls[mode], rows, tokens, signal)) }
        last[mode] = point
        onPoint(point)
      }
    }
  } finally {
    peer.close()
  }
}

/** Time and memory of a mode with the matrix grow with n². */
function isTooLarge(before: BenchPoint | undefined, tokens: number): boolean {
  if (before === undefined) return false
  return tokens ** 2 * 4 > LARGEST_MATRIX_BYTES || before.elapsedMs * (tokens / before.tokens) ** 2 > LONGEST_MS
}

/** The median of a few calls after one that does not count. */
async function measure(
  call: Call,
  rows: Float32Array,
  tokens: number,
  signal: AbortSignal,
): Promise<Pick<BenchPoint, 'elapsedMs' | 'peakBytes'>> {
  const first = await call(rows, tokens)
  // Without the output, which no result carries.
  if (first.elapsedMs > REPEAT_BELOW_MS) return { elapsedMs: first.elapsedMs, peakBytes: first.peakBytes }
  const measured: Called[] = []
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    await turn()
    signal.throwIfAborted()
    measured.push(await call(rows, tokens))
  }
  measured.sort((a, b) => a.elapsedMs - b.elapsedMs)
  const { elapsedMs, peakBytes } = measured[Math.floor(REPEATS / 2)] ?? first
  return { elapsedMs, peakBytes }
}

async function compare(calls: readonly Call[]): Promise<void> {
  const tokens = 256
  const rows = await randomRows(tokens)
  const outputs = await Promise.all(calls.map(async (call) => (await call(rows, tokens)).output))
  const [expected = new Float32Array()] = outputs
  const mean = expected.reduce((sum, value) => sum + Math.abs(value), 0) / expected.length
  for (const output of outputs) {
    const worst = expected.reduce((largest, value, at) => Math.max(largest, Math.abs(value - (output[at] ?? NaN))), 0)
    if (output.length !== expected.length || !(worst <= TOLERANCE * mean))
      throw new Error(`expected equal answers from all modes, got a difference of ${worst}`)
  }
}

function heddleCall(runtime: Runtime, mode: 'chunked' | 'standard', signal: AbortSignal): Call {
  return async (data, tokens) => {
    const rows = { data, shape: [tokens, SIZE] }
    const { output, report } = await runtime.attention({ query: rows, key: rows, value: rows }, { mode, signal })
    return { output: output.data, elapsedMs: report.elapsedMs, peakBytes: report.memory.peakBytes }
  }
}

/** Rows between −1 and 1, made in slices so that the page keeps its turns. */
async function randomRows(tokens: number): Promise<Float32Array> {
  const rows = new Float32Array(tokens * SIZE)
  const slice = 2 ** 16
  for (let start = 0; start < rows.length; start += slice) {
    for (let at = start; at < Math.min(rows.length, start + slice); at++) rows[at] = Math.random() * 2 - 1
    await turn()
  }
  return rows
}

/** tfjs in a worker of its own. */
class TfjsPeer {
  readonly #worker = new Worker(new URL('./tfjs.worker.ts', import.meta.url), { type: 'module' })

  constructor(private readonly signal: AbortSignal) {}

  call(rows: Float32Array, tokens: number): Promise<Called> {
    return new Promise((resolve, reject) => {
      this.signal.addEventListener('abort', () => reject(this.signal.reason as Error), { once: true })
      this.#worker.onerror = ({ message }) =>
        reject(new Error(`tfjs: ${message === '' ? 'the worker did not start' : message}`))
      this.#worker.onmessage = ({ data }: MessageEvent<TfjsAnswer>) => {
        const { output, elapsedMs, peakBytes, failure } = data
        if (output === undefined || elapsedMs === undefined || peakBytes === undefined)
          reject(new Error(`tfjs: ${failure}`))
        else resolve({ output, elapsedMs, peakBytes })
      }
      this.#worker.postMessage({ rows, tokens, size: SIZE } satisfies TfjsRequest)
    })
  }

  close(): void {
    this.#worker.terminate()
  }
}
