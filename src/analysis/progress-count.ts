import type { Runtime } from '../attention/runtime.ts'
import { PacedLoop } from '../train/paced-loop.ts'
import type { AnalysisOptions } from './analysis-options.ts'
import type { AnalysisHost } from './attention-case.ts'

/** Counts the calls of an analysis, and tells of each. */
export class ProgressCount {
  readonly startMs = performance.now()
  #done = 0

  constructor(
    private readonly total: number,
    private readonly onProgress: AnalysisOptions['onProgress'],
  ) {}

  get elapsedMs(): number {
    return performance.now() - this.startMs
  }

  /** Tells that nothing is done yet. */
  host(runtime: Runtime, signal: AbortSignal | undefined): AnalysisHost {
    this.#tell()
    return { runtime, signal, loop: new PacedLoop(signal), called: () => this.step() }
  }

  step(): void {
    this.#done++
    this.#tell()
  }

  #tell(): void {
    this.onProgress?.({ done: this.#done, total: this.total, elapsedMs: this.elapsedMs })
  }
}
