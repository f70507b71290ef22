import type { Ledger } from '../core/ledger.ts'
import { passSteps, type StagePass, type StagePassResult } from '../protocol/stage-pass.ts'
import type { TaskResult } from '../protocol/messages.ts'
import type { ArrayId } from '../protocol/task.ts'
import type { Job, JobTask, Priority } from '../scheduler/job.ts'
import { Operands, type SharedCopies } from '../scheduler/operands.ts'
import { StageBinder } from './bind.ts'
import { CountedJob } from './counted-job.ts'
import type { ProgramMemory } from './memory.ts'
import type { Value } from './operation.ts'
import type { Program } from './partition.ts'
import { passStages } from './pass-job.ts'
import { assignSlots } from './slots.ts'
import type { PassJobOptions } from './stage-job.ts'
import { stageFlops } from './stage-sizes.ts'

/** A whole program as the work of one lane, which makes all values by itself: where lanes share no memory. */
export class AloneJob extends CountedJob implements Job {
  readonly tasks: readonly JobTask[]
  readonly sharedMemory = false
  readonly isPass = true
  readonly depth = 1
  readonly maxLanes = 1
  readonly retries = false
  readonly signal: AbortSignal | undefined
  readonly priority: Priority | undefined
  readonly lastingLimitBytes: number
  readonly #madeBytes: number
  readonly #results: readonly Value[]

  constructor(
    program: Program,
    private readonly options: PassJobOptions,
    private readonly memory: ProgramMemory,
    ledger: Ledger,
    copies: SharedCopies,
  ) {
    super(new Operands('transfer', copies), ledger)
    this.signal = options.signal
    this.priority = options.priority
    this.lastingLimitBytes = options.lastingLimitBytes
    const { slots, slotOf } = assignSlots(program)
    const made = slots.map(({ elements, integers }) => ({ id: this.operands.fresh(), length: elements, integers }))
    const idOf = (value: Value): ArrayId =>
      made[slotOf.get(value) ?? -1]?.id ?? this.operands.whole(memory.dataOf(value))
    const binder = new StageBinder(null, this.operands, { dataOf: (value) => memory.dataOf(value), idOf })
    const stages = passStages(program.stages, binder, options)
    const claims = new Int32Array([...passSteps(stages)].reduce((sum, { chunks }) => sum + chunks, 0))
    this.#results = program.results.filter((value) => slotOf.has(value))
    const pass: StagePass = {
      kind: 'pass',
      stages,
      claims,
      share: 1,
      alone: { made, returned: this.#results.map(idOf) },
    }
    const own = new Set(made.map(({ id }) => id))
    this.tasks = [
      {
        tasks: [pass],
        needs: [...binder.needs].filter((id) => !own.has(id)),
        group: 0,
        cost: program.stages.reduce((sum, stage) => sum + stageFlops(stage), 0),
      },
    ]
    this.#madeBytes = made.reduce((sum, { length }) => sum + length * 4, 0)
  }

  dispatched(): void {
    this.ledger.add('activations', this.#madeBytes)
  }

  undone(): void {
    this.ledger.remove('activations', this.#madeBytes)
  }

  completed(_task: JobTask, [result]: readonly TaskResult[]): void {
    const { returned = [], partMs } = result as StagePassResult
    this.options.work.add(this.options.kinds, partMs)
    this.#results.forEach((value, index) => {
      const data = returned[index]
      if (data !== undefined) this.memory.accept(value, data)
    })
  }
}
