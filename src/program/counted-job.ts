import type { Ledger } from '../core/ledger.ts'
import type { ArrayId, AttachedArray } from '../protocol/task.ts'
import type { Operands } from '../scheduler/operands.ts'

/** A job whose ledger counts what lanes hold of its operands and for themselves. */
export abstract class CountedJob {
  protected constructor(
    protected readonly operands: Operands,
    protected readonly ledger: Ledger,
  ) {}

  provide(id: ArrayId): AttachedArray['array'] {
    this.ledger.add('lane copies', this.operands.residentBytes(id))
    return this.operands.provide(id)
  }

  returned(id: ArrayId): void {
    this.ledger.remove('lane copies', this.operands.residentBytes(id))
  }

  lastingBytes(id: ArrayId): number {
    return this.operands.lastingBytes(id)
  }

  laneKept(bytes: number): void {
    this.ledger.add('lane copies', bytes)
  }

  laneGrew(bytes: number): void {
    this.ledger.add('lane arenas', bytes)
  }
}
