import { elementsOfBlocks, type ElementBlock, type ElementPart } from '../../core/element-blocks.ts'
import type { ElementLoopName } from '../../core/element-loops.ts'
import type { Ledger } from '../../core/ledger.ts'
import type { ElementResult, ElementTask } from '../../protocol/element-task.ts'
import type { TaskResult } from '../../protocol/messages.ts'
import type { ArrayId, AttachedArray } from '../../protocol/task.ts'
import type { Job, JobTask } from '../../scheduler/job.ts'
import { Operands, SharedCopies } from '../../scheduler/operands.ts'

/** Tasks per lane: with few, the end of the job leaves lanes idle; with many, messages take the time. */
const TASKS_PER_LANE = 4
/** A task takes as long as so many flops of kernels, per element. */
const FLOPS_PER_ELEMENT: Readonly<Record<ElementLoopName, number>> = { squares: 15, sgd: 50, adam: 100 }

/**
 * Loops over elements as work for the pool, in shared memory: what is not in it is copied, which only what loops read
 * may be. A task can run twice: it does not write what it reads.
 */
export class ElementJob implements Job {
  readonly tasks: readonly JobTask[]
  readonly sharedMemory = true
  readonly depth = 2
  readonly maxLanes: number
  readonly signal: AbortSignal | undefined
  /** of each block, once its task is done */
  readonly sums: number[] = []
  readonly #operands: Operands
  readonly #firstBlockOf = new Map<JobTask, number>()

  constructor(
    blocks: readonly ElementBlock[],
    { lanes, signal }: { readonly lanes: number; readonly signal: AbortSignal | undefined },
    ledger: Ledger,
  ) {
    this.maxLanes = lanes
    this.signal = signal
    this.#operands = new Operands('shared', new SharedCopies(ledger))
    this.tasks = grouped(blocks, elementsOfBlocks(blocks) / (lanes * TASKS_PER_LANE)).map(({ first, group }) => {
      const task = this.#taskOf(group)
      this.#firstBlockOf.set(task, first)
      return task
    })
  }

  provide(id: ArrayId): AttachedArray['array'] {
    return this.#operands.provide(id)
  }

  completed(task: JobTask, [result]: readonly TaskResult[]): void {
    const first = this.#firstBlockOf.get(task) ?? 0
    ;(result as ElementResult).sums.forEach((sum, place) => (this.sums[first + place] = sum))
  }

  #taskOf(group: readonly ElementBlock[]): JobTask {
    const named = ({ arrays, ...part }: ElementPart): ElementPart<ArrayId> => ({
      ...part,
      arrays: arrays.map((array) => this.#operands.whole(array)),
    })
    const blocks = group.map((block) => block.map(named))
    const task: ElementTask = { kind: 'elements', blocks }
    const parts = blocks.flat()
    const cost = parts.reduce((sum, { loop, start, end }) => sum + FLOPS_PER_ELEMENT[loop] * (end - start), 0)
    return { tasks: [task], needs: [...new Set(parts.flatMap(({ arrays }) => arrays))], group: 0, cost }
  }
}

/** Blocks in groups of about so many elements, and which block is the first of each. */
function grouped(
  blocks: readonly ElementBlock[],
  elements: number,
): { readonly first: number; readonly group: readonly ElementBlock[] }[] {
  const groups: { first: number; group: ElementBlock[] }[] = []
  let room = 0
  blocks.forEach((block, index) => {
    if (room <= 0) {
      groups.push({ first: index, group: [] })
      room = elements
    }
    groups.at(-1)?.group.push(block)
    room -= elementsOfBlocks([block])
  })
  return groups
}
