import type { ResidentWeight, RowStageTask, RowStep } from '../../../src/protocol/stage.ts'
import type { TaskArray } from '../../../src/protocol/task.ts'
import { exactActivations } from '../../support/activations.ts'
import { philox } from '../../support/philox.ts'

type Rows = number[][]
type Arrays = (id: number) => TaskArray

/**
 * Each store of a stage in float64, row by row as the steps say: [rows, width], or [heads, rows, D] for `store-heads`.
 */
export function stageReference(task: RowStageTask, arrays: Arrays): number[][] {
  const registers: Rows[] = []
  const stored: number[][] = []
  for (const step of task.steps) {
    if (step.op === 'store') stored.push((registers[step.from] as Rows).flat())
    else if (step.op === 'store-heads') stored.push(byHeads(registers[step.from] as Rows, step.heads))
    else apply(step, task, registers, arrays)
  }
  return stored
}

function apply(step: RowStep, task: RowStageTask, registers: Rows[], arrays: Arrays): void {
  const width = (register: number): number => task.registers[register] as number
  const rowsOf = (register: number): Rows => registers[register] as Rows
  if (step.op === 'load') registers[step.to] = loaded(step.from, task.rows, width(step.to), arrays)
  if (step.op === 'embed') {
    const tokens = loaded(step.tokens, task.rows, 1, arrays)
    registers[step.to] = tokens.map(([token = 0]) =>
      row(arrays(step.table.array), step.table.offset + token * step.table.rowStride, width(step.to)).map(
        (x) => x * step.scale,
      ),
    )
  }
  if (step.op === 'linear') {
    const { outSize, inSize, offset, array } = step.weight
    const bias =
      step.bias === null ? new Array<number>(outSize).fill(0) : row(arrays(step.bias.array), step.bias.offset, outSize)
    const weights = Array.from({ length: outSize }, (_, o) => row(arrays(array), offset + o * inSize, inSize))
    registers[step.to] = rowsOf(step.from).map((x) =>
      weights.map((w, o) => w.reduce((sum, wc, c) => sum + wc * (x[c] as number), bias[o] as number)),
    )
  }
  if (step.op === 'norm') {
    const vector = ({ array, offset, outSize }: ResidentWeight): number[] => row(arrays(array), offset, outSize)
    const [w, b] = [vector(step.weight), step.bias === null ? vector(step.weight).fill(0) : vector(step.bias)]
    registers[step.to] = rowsOf(step.from).map((x) =>
      normalised(x, step.epsilon).map((value, c) => value * (w[c] as number) + (b[c] as number)),
    )
  }
  if (step.op === 'rms-norm') {
    const w = row(arrays(step.weight.array), step.weight.offset, step.weight.outSize)
    registers[step.to] = rowsOf(step.from).map((x) => {
      const length = Math.sqrt(x.reduce((sum, value) => sum + value ** 2, 0) / x.length + step.epsilon)
      return x.map((value, c) => (value / length) * (w[c] as number))
    })
  }
  if (step.op === 'rms-norm-heads') {
    const { headSize, weight, epsilon } = step
    const w = weight === null ? null : row(arrays(weight.array), weight.offset, headSize)
    registers[step.to] = rowsOf(step.from).map((x) =>
      x.map((value, c) => {
        const first = c - (c % headSize)
        const head = x.slice(first, first + headSize)
        const length = Math.sqrt(head.reduce((sum, each) => sum + each ** 2, 0) / headSize + epsilon)
        return (value / length) * (w?.[c % headSize] ?? 1)
      }),
    )
  }
  if (step.op === 'multiply')
    registers[step.to] = rowsOf(step.to).map((x, r) =>
      x.map((value, c) => value * ((rowsOf(step.from)[r] as number[])[c] as number)),
    )
  if (step.op === 'add')
    registers[step.to] = rowsOf(step.to).map((x, r) =>
      x.map((value, c) => value + ((rowsOf(step.from)[r] as number[])[c] as number)),
    )
  if (step.op === 'scale')
    registers[step.register] = rowsOf(step.register).map((x) => x.map((value) => step.factor * value))
  if (step.op === 'activate')
    registers[step.register] = rowsOf(step.register).map((x) => x.map(exactActivations[step.activation]))
  if (step.op === 'drop')
    registers[step.register] = rowsOf(step.register).map((x, r) =>
      dropped(x, task.rowStart + r, task.batch, step.dropout),
    )
  if (step.op === 'rotate')
    registers[step.register] = rowsOf(step.register).map((x, r) =>
      rotated(x, step, row(arrays(step.table.array), step.table.offset + r * step.table.rowStride, step.turned)),
    )
}

function normalised(x: readonly number[], epsilon: number): number[] {
  const mean = x.reduce((sum, value) => sum + value, 0) / x.length
  const variance = x.reduce((sum, value) => sum + (value - mean) ** 2, 0) / x.length
  return x.map((value) => (value - mean) / Math.sqrt(variance + epsilon))
}

function dropped(
  x: readonly number[],
  rowIndex: number,
  batch: number,
  rule: Extract<RowStep, { op: 'drop' }>['dropout'],
): number[] {
  return x.map((value, c) => {
    const words = philox([Math.floor(c / 4), rowIndex, batch, rule.site], [rule.seedLow, rule.seedHigh])
    return (words[c % 4] as number) >= rule.threshold ? value * rule.keepScale : 0
  })
}

function rotated(
  x: readonly number[],
  { headSize, turned }: Extract<RowStep, { op: 'rotate' }>,
  angles: readonly number[],
): number[] {
  const half = turned / 2
  return x.map((value, at) => {
    const c = at % headSize
    if (c >= turned) return value
    const [cos, sin] = [angles[c % half] as number, angles[half + (c % half)] as number]
    return c < half ? value * cos - (x[at + half] as number) * sin : value * cos + (x[at - half] as number) * sin
  })
}

function byHeads(rows: Rows, heads: number): number[] {
  const size = (rows[0]?.length ?? 0) / heads
  return Array.from({ length: heads }, (_, h) => rows.flatMap((x) => x.slice(h * size, (h + 1) * size))).flat()
}

function loaded(
  slice: { array: number; offset: number; rowStride: number },
  rows: number,
  width: number,
  arrays: Arrays,
): Rows {
  return Array.from({ length: rows }, (_, r) => row(arrays(slice.array), slice.offset + r * slice.rowStride, width))
}

function row(array: TaskArray, from: number, width: number): number[] {
  return [...array.subarray(from, from + width)]
}
