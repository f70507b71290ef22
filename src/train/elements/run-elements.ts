import type { Runtime } from '../../attention/runtime.ts'
import { cutIntoBlocks, elementsOfBlocks, runBlocks } from '../../core/element-blocks.ts'
import type { ElementWork } from '../../core/element-loops.ts'
import { Ledger } from '../../core/ledger.ts'
import type { LaneShare } from '../../scheduler/job.ts'
import { PacedLoop } from '../paced-loop.ts'
import { ElementJob } from './element-job.ts'

/**
 * From so many elements on, messages to the lanes cost less than the lanes save, by what is done with the elements:
 * measured by `npm run bench:optimizer`.
 */
export const LANES_PAY = { update: 2 ** 20, norm: 2 ** 22 } as const

export interface ElementRunOptions {
  /** elements that share a sum, counted through all works; the sums' bits depend on it */
  readonly blockElements: number
  /** from so many elements on lanes do it, where they share memory with this thread */
  readonly lanesPay: number
  readonly runtime: Runtime | undefined
  readonly signal: AbortSignal | undefined
}

/** Where loops over elements ran. */
export interface ElementReport {
  /** 'worker': on the lanes */
  readonly thread: 'worker' | 'caller'
  /** wall-clock time of the call */
  readonly elapsedMs: number
  /** the lanes that did a part of it */
  readonly lanes: readonly LaneShare[]
  /** tasks sent again because their worker died: such a worker may still write, for a moment */
  readonly retries: number
}

export interface ElementRun {
  /** one per block */
  readonly sums: readonly number[]
  readonly report: ElementReport
}

/** Runs loops over elements, on the lanes where they pay, else on this thread: the bits are the same. */
export async function runElements(works: readonly ElementWork[], options: ElementRunOptions): Promise<ElementRun> {
  const { blockElements, runtime, signal } = options
  const startMs = performance.now()
  const blocks = cutIntoBlocks(works, blockElements)
  const host = elementsOfBlocks(blocks) < options.lanesPay ? undefined : runtime?.stageHost()
  if (host?.transport !== 'shared') {
    const loop = new PacedLoop(signal)
    const sums = await runBlocks(blocks, () => loop.pace())
    return { sums, report: { thread: 'caller', elapsedMs: performance.now() - startMs, lanes: [], retries: 0 } }
  }
  const job = new ElementJob(blocks, { lanes: host.pool.lanes().length, signal }, new Ledger())
  const { lanes, retries } = await host.pool.run(job)
  return { sums: job.sums, report: { thread: 'worker', elapsedMs: performance.now() - startMs, lanes, retries } }
}
