import type { Ledger } from '../core/ledger.ts'
import { partialRowBytes } from '../plan/attention-plan.ts'
import type { AttentionTaskResult } from '../protocol/task.ts'
import { mergeRows } from './merge-rows.ts'

/**
 * Collects the results of the same rows over each part of the keys, and merges them, in key order, when all are there.
 */
export class SplitKeys {
  readonly #waiting = new Map<string, (AttentionTaskResult | undefined)[]>()

  /** @param parts of the keys; @param rows of all heads, for the bytes that may wait here */
  constructor(
    private readonly parts: number,
    private readonly valueSize: number,
    rows: number,
    ledger: Ledger,
  ) {
    if (parts > 1) ledger.add('partials', rows * parts * partialRowBytes(valueSize))
  }

  /** The merged result of `rowsKey` once the last part came; undefined until then. */
  add(rowsKey: string, part: number, result: AttentionTaskResult): AttentionTaskResult | undefined {
    const results = this.#waiting.get(rowsKey) ?? new Array<AttentionTaskResult | undefined>(this.parts).fill(undefined)
    results[part] = result
    this.#waiting.set(rowsKey, results)
    if (results.some((each) => each === undefined)) return undefined
    this.#waiting.delete(rowsKey)
    const partials = results.map((each) => ({
      output: each?.output ?? new Float32Array(0),
      logSumExp: each?.logSumExp ?? new Float32Array(0),
    }))
    return { ...result, ...mergeRows(partials, this.valueSize) }
  }
}
