import { expect } from 'vitest'
import type { RowKernels } from '../../src/backends/wasm/stage-memory.ts'
import type { Reference } from '../support/oracle.ts'
import { bytesOf } from '../support/tensors.ts'
import { rowModules, type Binary } from './kernel-lane.ts'

/** A bit pattern that no kernel writes: a NaN with a payload of its own. */
const POISON = 0x7fc0dead
/** Words before the first operand; below stand the kernels' own constants and parameters. */
const START = 65_536 >> 2
const GUARD = 8

const memory = new WebAssembly.Memory({ initial: 8 })
const words = new Int32Array(memory.buffer)
const bytes = Buffer.from(memory.buffer)
const poisoned = Buffer.from(new Int32Array(words.length).fill(POISON).buffer)
const instances = new Map<Binary, RowKernels>()

export function rowKernels(binary: Binary): RowKernels {
  const kernels =
    instances.get(binary) ??
    (new WebAssembly.Instance(rowModules[binary], { env: { memory } }).exports as unknown as RowKernels)
  instances.set(binary, kernels)
  return kernels
}

type Data = Float32Array | Int32Array

export interface Operand {
  readonly role: 'input' | 'updated' | 'output' | 'scratch'
  readonly length: number
  readonly data?: Data
  /** to 16 bytes; others stand at any multiple of 4 */
  readonly aligned: boolean
}

/** Read only: the call fails the test when it writes here. */
export const input = (data: Data, aligned = false): Operand => ({ role: 'input', length: data.length, data, aligned })
export const updated = (data: Float32Array): Operand => ({ role: 'updated', length: data.length, data, aligned: false })
/** Every element must be written. */
export const output = (length: number, aligned = false): Operand => ({ role: 'output', length, aligned })
/** 16-byte aligned. */
export const scratch = (length: number): Operand => ({ role: 'scratch', length, aligned: true })

/**
 * Runs a kernel between guards, once for each placement: operands at other alignments, and each in turn up against the
 * end of the memory, where a read past it traps. Throws where a guard or an input was written, an output was not, or
 * two placements gave different bits.
 *
 * @returns what stands in each operand afterwards
 */
export function callRows<Name extends string>(
  binary: Binary,
  operands: Readonly<Record<Name, Operand>>,
  call: (kernels: RowKernels, at: Readonly<Record<Name, number>>) => void,
): Record<Name, Float32Array> {
  const names = Object.keys(operands) as Name[]
  let first: Record<Name, Float32Array> | undefined
  for (const last of [undefined, ...names]) {
    const at = place(operands, last)
    poisoned.copy(bytes, START * 4, START * 4)
    for (const name of names) fill(operands[name], at[name])
    call(rowKernels(binary), at)
    checkGuards(operands, at)
    const results = Object.fromEntries(names.map((name) => [name, resultOf(operands[name], name, at[name])])) as Record<
      Name,
      Float32Array
    >
    first ??= results
    for (const name of names) {
      if (!Buffer.from(bytesOf(results[name])).equals(bytesOf(first[name])))
        throw new Error(`${name}: other bits when ${last} stands at the memory's end`)
    }
  }
  return first as Record<Name, Float32Array>
}

function place<Name extends string>(
  operands: Readonly<Record<Name, Operand>>,
  last: Name | undefined,
): Record<Name, number> {
  const names = Object.keys(operands) as Name[]
  const places = {} as Record<Name, number>
  let end = START
  names.forEach((name, index) => {
    const { length, aligned } = operands[name]
    if (name === last) {
      places[name] = aligned ? ((words.length - length) & ~3) << 2 : (words.length - length) << 2
      return
    }
    const start = Math.ceil((end + GUARD) / 4) * 4 + (aligned || last === undefined ? 0 : 1 + (index % 3))
    places[name] = start << 2
    end = start + length
  })
  const room = last === undefined ? words.length : places[last] >> 2
  if (end + GUARD > room) throw new Error('the operands do not fit the memory of the test')
  return places
}

function fill({ data }: Operand, at: number): void {
  if (data !== undefined) words.set(new Int32Array(data.buffer, data.byteOffset, data.length), at >> 2)
}

function checkGuards<Name extends string>(
  operands: Readonly<Record<Name, Operand>>,
  at: Readonly<Record<Name, number>>,
): void {
  const ranges = (Object.keys(operands) as Name[]).map(
    (name) => [at[name] >> 2, (at[name] >> 2) + operands[name].length] as const,
  )
  ranges.sort(([a], [b]) => a - b)
  let word = START
  for (const [start, end] of [...ranges, [words.length, words.length] as const]) {
    if (start > word && bytes.compare(poisoned, word * 4, start * 4, word * 4, start * 4) !== 0) {
      throw new Error(
        `word ${words.findIndex((value, at) => at >= word && value !== POISON)}, outside the operands, was written`,
      )
    }
    word = Math.max(word, end)
  }
}

function resultOf({ role, length, data }: Operand, name: string, at: number): Float32Array {
  const result = words.slice(at >> 2, (at >> 2) + length)
  if (role === 'output' && result.includes(POISON))
    throw new Error(`${name}: element ${result.indexOf(POISON)} was not written`)
  if (role === 'input' && data !== undefined && !Buffer.from(bytesOf(result)).equals(bytesOf(data)))
    throw new Error(`${name} was written`)
  return role === 'scratch' ? new Float32Array(0) : new Float32Array(result.buffer)
}

/**
 * `element` in float64, and once more with every operation rounded to float32, which says how far plain code is off.
 */
export function reference(
  shape: readonly number[],
  element: (index: number, round: (x: number) => number) => number,
): Reference {
  const length = shape.reduce((product, size) => product * size, 1)
  const with_ = (round: (x: number) => number) => Float64Array.from({ length }, (_, index) => element(index, round))
  return { exact: with_((x) => x), plain: with_(Math.fround), shape }
}

/** Row by row: `row(r, round)` gives the elements of one row. */
export function rowReference(
  rows: number,
  width: number,
  row: (r: number, round: (x: number) => number) => readonly number[],
): Reference {
  const with_ = (round: (x: number) => number) =>
    Float64Array.from(Array.from({ length: rows }, (_, r) => row(r, round)).flat())
  return { exact: with_((x) => x), plain: with_(Math.fround), shape: [rows, width] }
}

/** Fails unless the bits are the same, with the first element that differs. Far faster than toEqual over bytes. */
export function expectBits(is: Float32Array, should: Float32Array): void {
  const [left, right] = [new Int32Array(is.slice().buffer), new Int32Array(should.slice().buffer)]
  const index = left.findIndex((word, at) => word !== right[at])
  expect(index, `element ${index}: ${is[index]} instead of ${should[index]}`).toBe(-1)
  expect(is.length).toBe(should.length)
}

/** The largest |is − should|, or the same over |should| where that is not 0, and its place; NaN counts as infinite. */
export function worstError(
  is: Float32Array,
  should: (index: number) => number,
  relative = false,
): { error: number; index: number } {
  let worst = { error: 0, index: -1 }
  is.forEach((value, index) => {
    const wanted = should(index)
    const error = Math.abs(value - wanted) / (relative && wanted !== 0 ? Math.abs(wanted) : 1)
    if (!(error <= worst.error)) worst = { error: Number.isNaN(error) ? Infinity : error, index }
  })
  return worst
}

export function rowOf(data: Float32Array, row: number, width: number): Float32Array {
  return data.subarray(row * width, (row + 1) * width)
}

/** A NaN with bits that would become part of an exponent. */
export const PAYLOAD_NAN = new Float32Array(Int32Array.of(0x7fc0_1234).buffer)[0] as number

/** Every remainder of 4 and 8, and what layers have. */
export const WIDTHS = [...Array.from({ length: 19 }, (_, index) => index + 1), 64, 130]
export const ROWS = [1, 2, 3, 63, 64, 65]
