import { allocate } from '../../core/ledger.ts'
import { probeSharedMemory } from '../../core/shared-memory.ts'
import type { Parameter } from '../../program/parameter.ts'
import { LANES_PAY } from '../elements/run-elements.ts'
import { readState, writeState, type OptimizerState, type ParameterState } from './optimizer-state.ts'

type Moments = Readonly<Record<string, Float32Array>>

/** The arrays of one parameter's update: old values, gradient, and where the new values go. */
export interface UpdateArrays {
  readonly parameter: Float32Array
  readonly gradient: Float32Array
  readonly moments: Moments
  readonly newParameter: Float32Array
  readonly newMoments: Moments
}

/** An update that has been computed. */
export interface ComputedUpdate {
  readonly name: string
  readonly parameter: Parameter
  readonly arrays: UpdateArrays
  /** updates of the parameter, this one included */
  readonly steps: number
}

/**
 * What an optimizer keeps from step to step: moments, and arrays to compute into, which change places with them. They
 * stand in shared memory where lanes can update the parameters.
 */
export class OptimizerMemory {
  #states = new Map<string, ParameterState>()
  readonly #spares = new Map<string, Pick<UpdateArrays, 'newParameter' | 'newMoments'>>()
  readonly #isShared: boolean

  constructor(
    private readonly label: string,
    private readonly parameters: ReadonlyMap<string, Parameter>,
  ) {
    const elements = [...parameters.values()].reduce((sum, { data }) => sum + data.length, 0)
    this.#isShared = elements >= LANES_PAY.update && probeSharedMemory().available
  }

  /** The arrays for an update of a parameter with these moments, and how many it has had. */
  open(
    name: string,
    gradient: Float32Array,
    moments: readonly string[],
  ): { readonly arrays: UpdateArrays; readonly steps: number } {
    const data = this.parameters.get(name)?.data ?? gradient
    const zeros = (): Moments => Object.fromEntries(moments.map((moment) => [moment, this.#array(data.length)]))
    const state = this.#states.get(name) ?? { steps: 0, moments: zeros() }
    const spare = this.#spares.get(name) ?? { newParameter: this.#array(data.length), newMoments: zeros() }
    this.#spares.set(name, spare)
    return { arrays: { parameter: data, gradient, moments: state.moments, ...spare }, steps: state.steps }
  }

  /** Everything at once: nobody sees some parameters of one step and some of another. */
  commit(updates: readonly ComputedUpdate[]): void {
    for (const { name, parameter, arrays, steps } of updates) {
      const { newParameter, newMoments } = arrays
      parameter.data.set(newParameter)
      parameter.touch()
      this.#states.set(name, { steps, moments: newMoments })
      this.#spares.set(name, { newParameter, newMoments: arrays.moments })
    }
  }

  /** Never uses the arrays again that these updates were computed into. */
  drop(updates: readonly Pick<ComputedUpdate, 'name'>[]): void {
    for (const { name } of updates) this.#spares.delete(name)
  }

  /** The same updates in memory that no lane has seen. */
  copied<Update extends ComputedUpdate>(updates: readonly Update[]): Update[] {
    return updates.map((update) => {
      const { newParameter, newMoments } = update.arrays
      const moments = Object.entries(newMoments).map(([moment, data]) => [moment, this.#copy(data)] as const)
      return {
        ...update,
        arrays: {
          ...update.arrays,
          newParameter: this.#copy(newParameter),
          newMoments: Object.fromEntries(moments),
        },
      }
    })
  }

  write(): OptimizerState {
    return writeState(this.parameters, this.#states)
  }

  /** @throws as `readState` does, and then nothing has changed */
  read(what: string, momentsOf: (name: string) => readonly string[], state: Readonly<OptimizerState>): void {
    const states = readState(what, this.parameters, momentsOf, state)
    this.#states = new Map(
      [...states].map(([name, { steps, moments }]) => [
        name,
        { steps, moments: Object.fromEntries(Object.entries(moments).map(([key, data]) => [key, this.#placed(data)])) },
      ]),
    )
  }

  #placed(data: Float32Array): Float32Array {
    return this.#isShared ? this.#copy(data) : data
  }

  #copy(data: Float32Array): Float32Array {
    const copy = this.#array(data.length)
    copy.set(data)
    return copy
  }

  #array(length: number): Float32Array {
    return new Float32Array(allocate(`${this.label} state`, 4 * length, this.#isShared))
  }
}
