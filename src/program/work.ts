import type { Program } from './partition.ts'
import type { RowStage, Stage } from './stage.ts'

/**
 * What lanes do in a run. 'turn': the stage that ends the forward pass and begins the gradients, of the last block's
 * rows and the loss. 'backward': gradients row by row, with what is computed again for them. 'weight gradients': sums
 * over rows.
 */
export type WorkKind = 'forward' | 'turn' | 'backward' | 'attention backward' | 'weight gradients'

/** Time of all lanes together. */
export interface WorkTime {
  readonly what: WorkKind
  readonly ms: number
}

/** The kind of each part of these stages, as a pass counts its parts. */
export function workKinds(stages: readonly Stage[], graph: Program['graph']): WorkKind[] {
  const forward = new Set(graph.operations.slice(0, graph.forwardOperations ?? graph.operations.length))
  const ofRows = ({ attend, items }: RowStage): WorkKind => {
    const operations = [
      ...(attend === null ? [] : [attend]),
      ...items.flatMap((item) => (item.kind === 'operation' ? [item.operation] : [])),
    ]
    const count = operations.filter((operation) => forward.has(operation)).length
    if (count === operations.length) return 'forward'
    return count === 0 ? 'backward' : 'turn'
  }
  return stages.flatMap((stage): WorkKind[] => {
    if (stage.kind === 'attention-backward') return ['attention backward']
    if (stage.kind === 'table') return ['weight gradients']
    return stage.slab === null ? [ofRows(stage)] : [ofRows(stage), 'weight gradients']
  })
}

/** Adds up what lanes report of their parts. */
export class WorkTimes {
  readonly #ms = new Map<WorkKind, number>()

  add(kinds: readonly WorkKind[], partMs: readonly number[]): void {
    kinds.forEach((kind, part) => this.#ms.set(kind, (this.#ms.get(kind) ?? 0) + (partMs[part] ?? 0)))
  }

  get list(): WorkTime[] {
    return [...this.#ms].map(([what, ms]) => ({ what, ms }))
  }
}
