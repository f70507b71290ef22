import type { Register } from '../protocol/stage.ts'
import type { Operation, Value } from './operation.ts'
import { ruleOf } from './operations/rules.ts'
import type { StageItem } from './stage-item.ts'

/** Which register holds each value of a stage. */
export interface RegisterUse {
  /** elements per row of each register */
  readonly registers: readonly number[]
  readonly registerOf: ReadonlyMap<Value, Register>
  /** inputs whose register the operation's result takes over */
  readonly reused: ReadonlyMap<Operation, Value>
}

/**
 * Gives each value a register from the item that makes it to the item that needs it last. A result takes over its
 * input's where its rule allows it.
 */
export function assignRegisters(items: readonly StageItem[]): RegisterUse {
  const lastUse = lastUses(items)
  const registers: number[] = []
  const free: Register[] = []
  const registerOf = new Map<Value, Register>()
  const reused = new Map<Operation, Value>()
  const take = (width: number): Register => {
    const place = free.findIndex((register) => registers[register] === width)
    if (place >= 0) return free.splice(place, 1)[0] as Register
    return registers.push(width) - 1
  }
  items.forEach((item, index) => {
    if (item.kind === 'load') {
      registerOf.set(item.value, take(item.value.width))
      return
    }
    const used = item.kind === 'store' ? [item.stored.from] : inputsOf(item.operation)
    const dying = used.filter((value) => lastUse.get(value) === index)
    let taken: Value | undefined
    if (item.kind === 'operation') {
      const { outputs } = item.operation
      const [output, ...others] = outputs as [Value, ...Value[]]
      const { inPlace = [] } = ruleOf(item.operation)
      taken = inPlace.map((place) => item.operation.inputs[place] as Value).find((value) => dying.includes(value))
      if (taken !== undefined) reused.set(item.operation, taken)
      registerOf.set(output, taken === undefined ? take(output.width) : (registerOf.get(taken) as Register))
      for (const other of others) registerOf.set(other, take(other.width))
    }
    for (const value of new Set(dying)) if (value !== taken) free.push(registerOf.get(value) as Register)
  })
  return { registers, registerOf, reused }
}

/** The inputs that stand in registers. */
function inputsOf(operation: Operation): Value[] {
  const { inRegisters } = ruleOf(operation)
  return operation.inputs.filter((_, place) => inRegisters === undefined || inRegisters.includes(place))
}

/** The last item that reads each value. */
function lastUses(items: readonly StageItem[]): Map<Value, number> {
  const last = new Map<Value, number>()
  items.forEach((item, index) => {
    if (item.kind === 'operation')
      for (const value of [...inputsOf(item.operation), ...item.operation.outputs]) last.set(value, index)
    else last.set(item.kind === 'store' ? item.stored.from : item.value, index)
  })
  return last
}
