import { elementsOfBlocks, type ElementBlock, type ElementPart } from '../../core/element-blocks.ts'
import type { ElementLoopName } from '../../core/element-loops.ts'
import type { Ledger } from '../../core/ledger.ts'
import { freeClaims, type StagePass } from '../../protocol/stage-pass.ts'
import type { ArrayId, AttachedArray } from '../../protocol/task.ts'
import type { Job, JobTask } from '../../scheduler/job.ts'
import { Operands, SharedCopies } from '../../scheduler/operands.ts'

/** A loop takes as long as so many flops of kernels, per element. */
const FLOPS_PER_ELEMENT: Readonly<Record<ElementLoopName, number>> = { squares: 15, sgd: 50, adam: 100 }

/**
 * Loops over elements as a pass for the pool, in shared memory: what is not in it is copied, which only what loops read
 * may be. Each lane gets one message, and answers when all blocks are done: on a machine whose cores are all busy, each
 * message in between would wait for one.
 */
export class ElementJob implements Job {
  readonly tasks: readonly JobTask[]
  readonly sharedMemory = true
  readonly isPass = true
  readonly depth = 1
  readonly maxLanes: number
  readonly signal: AbortSignal | undefined
  readonly #operands: Operands
  readonly #claims: Int32Array
  readonly #sums: Float64Array

  constructor(
    blocks: readonly ElementBlock[],
    { lanes, signal }: { readonly lanes: number; readonly signal: AbortSignal | undefined },
    ledger: Ledger,
  ) {
    this.maxLanes = Math.min(lanes, blocks.length)
    this.signal = signal
    this.#operands = new Operands('shared', new SharedCopies(ledger))
    this.#claims = ledger.array('claims', Int32Array, blocks.length, true)
    const sumBytes = ledger.array('partials', Uint8Array, 8 * blocks.length, true)
    this.#sums = new Float64Array(sumBytes.buffer)
    const named = ({ arrays, ...part }: ElementPart): ElementPart<ArrayId> => ({
      ...part,
      arrays: arrays.map((array) => this.#operands.whole(array)),
    })
    const stage = {
      kind: 'elements',
      blocks: blocks.map((block) => block.map(named)),
      sums: this.#operands.whole(sumBytes),
    } as const
    const needs = [stage.sums, ...new Set(stage.blocks.flat().flatMap(({ arrays }) => arrays))]
    const cost = flopsOf(blocks) / this.maxLanes
    const pieceCost = Math.max(...blocks.map((block) => flopsOf([block])))
    this.tasks = Array.from({ length: this.maxLanes }, (_, index): JobTask => {
      const pass: StagePass = { kind: 'pass', stages: [stage], claims: this.#claims, share: index + 1 }
      return { tasks: [pass], needs, group: 0, cost, pieceCost }
    })
  }

  /** of each block, once the job is done */
  get sums(): number[] {
    return Array.from(this.#sums)
  }

  provide(id: ArrayId): AttachedArray['array'] {
    return this.#operands.provide(id)
  }

  /** The lane died: others may take what it had begun. */
  undone({ tasks }: JobTask): void {
    for (const task of tasks) if (task.kind === 'pass') freeClaims(this.#claims, task.share)
  }

  /** Lanes wrote in place. */
  completed(): void {
    // Sums stand in shared memory.
  }
}

function flopsOf(blocks: readonly ElementBlock[]): number {
  return blocks.flat().reduce((sum, part) => sum + FLOPS_PER_ELEMENT[part.loop] * elementsOfBlocks([[part]]), 0)
}
