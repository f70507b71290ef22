import type { LaneKind } from '../protocol/messages.ts'
import type { Runtime } from './runtime.ts'

/** Tokens of the job that lanes are measured by: long enough to fill a GPU, some 30 ms on one wasm lane. */
const MEASURED_TOKENS = 2048

/** What `backend: 'auto'` takes. */
export interface AutoChoice {
  /** undefined: wasm lanes alone */
  readonly kinds: LaneKind[] | undefined
  readonly reason: string
}

/** Gives the milliseconds that it took. */
export type MeasuredJob = (runtime: Runtime) => Promise<number>
/** Runs the job on one lane of a kind. */
export type TimeLane = (kind: LaneKind, job: MeasuredJob) => Promise<number>

/** The faster of two calls, warm. */
async function measuredJob(runtime: Runtime): Promise<number> {
  const shape = [MEASURED_TOKENS, 64]
  const inputs = { query: runtime.tensor(shape), key: runtime.tensor(shape), value: runtime.tensor(shape) }
  const run = async (): Promise<number> => (await runtime.attention(inputs)).report.elapsedMs
  await run()
  return Math.min(await run(), await run())
}

/** A GPU lane beside the wasm lanes where it beats one of them, else wasm alone. */
export async function measureLanes(cores: number, timeLane: TimeLane): Promise<AutoChoice> {
  try {
    const gpuMs = await timeLane('webgpu', measuredJob)
    const wasmMs = await timeLane('wasm', measuredJob)
    const reason = `${MEASURED_TOKENS} tokens took the GPU ${gpuMs.toPrecision(2)} ms, a wasm lane ${wasmMs.toPrecision(2)} ms`
    if (gpuMs >= wasmMs) return { kinds: undefined, reason }
    // The GPU lane's worker prepares its submits on a core of its own.
    return { kinds: ['webgpu', ...new Array<LaneKind>(Math.max(1, cores - 1)).fill('wasm')], reason }
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    return { kinds: undefined, reason: `the GPU failed its first job: ${message}` }
  }
}
