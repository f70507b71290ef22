import type { ResidentWeight, RowStageTask, RowStep } from '../../../src/protocol/stage.ts'
import type { TaskArray } from '../../../src/protocol/task.ts'
import { Random } from '../../support/random.ts'
import { normalTensor } from '../../support/tensors.ts'

/** The array of a stage's rows. */
export const INPUT = 1

/** A stage over random rows (array 1, as wide as the first register) with random weights. */
export class StageOf {
  readonly arrays = new Map<number, TaskArray>()
  readonly #random: Random
  #parameters = 0

  constructor(
    private readonly rows: number,
    private readonly registers: readonly number[],
  ) {
    this.#random = new Random(rows + registers.length)
    this.arrays.set(INPUT, normalTensor(this.#random, [rows, registers[0] as number]).data)
  }

  attach(array: TaskArray): number {
    const id = this.arrays.size + 1
    this.arrays.set(id, array)
    return id
  }

  task(steps: readonly RowStep[]): RowStageTask {
    return {
      kind: 'rows',
      batch: 0,
      rowStart: 0,
      rows: this.rows,
      registers: this.registers,
      attention: null,
      steps,
      registerBytes: 1 << 20,
      residentLimitBytes: Infinity,
    }
  }

  load(to: number): RowStep {
    return { op: 'load', to, from: { array: INPUT, offset: 0, rowStride: this.registers[0] as number } }
  }

  store(from: number): RowStep {
    return { op: 'store', from, to: 'returned' }
  }

  linear(from: number, to: number, bias: boolean) {
    const [inSize, outSize] = [this.registers[from] as number, this.registers[to] as number]
    return {
      op: 'linear',
      from,
      to,
      weight: this.#weight(outSize, inSize, inSize ** -0.5),
      bias: bias ? this.#weight(outSize, 1, 1) : null,
    } as const
  }

  norm(from: number, to: number, biased = true): RowStep {
    const width = this.registers[from] as number
    return {
      op: 'norm',
      from,
      to,
      weight: this.#weight(width, 1, 1),
      bias: biased ? this.#weight(width, 1, 1) : null,
      epsilon: 1e-5,
    }
  }

  rmsNorm(from: number, to: number): RowStep {
    return { op: 'rms-norm', from, to, weight: this.#weight(this.registers[from] as number, 1, 1), epsilon: 1e-6 }
  }

  rmsNormHeads(from: number, to: number, headSize: number, weighted: boolean): RowStep {
    const weight = weighted ? this.#weight(headSize, 1, 1) : null
    return { op: 'rms-norm-heads', from, to, headSize, weight, epsilon: 1e-6 }
  }

  #weight(outSize: number, inSize: number, spread: number): ResidentWeight {
    const array = this.attach(normalTensor(this.#random, [outSize, inSize], spread).data)
    return {
      parameter: Math.floor(this.#random.uniform() * 1e9) + this.#parameters++,
      version: 1,
      array,
      offset: 0,
      outSize,
      inSize,
    }
  }
}
