import {
  biasGradientShape,
  type AttentionBackwardResult,
  type AttentionBackwardTask,
  type BackwardHead,
} from '../../protocol/backward-task.ts'
import type { Destination, Slice } from '../../protocol/task.ts'
import type { TaskContext } from '../backend.ts'

/** Where rows of a result go: row r, column c at offset + r·rowStride + c·columnStride. */
export interface FloatSink {
  readonly array: Float32Array
  readonly slice: Omit<Slice, 'array'>
}

/** Where a backward task's results go: into slices, or into dense arrays that travel with the answer. */
export interface Sinks {
  dQuery(head: number): FloatSink
  dBias(head: number): FloatSink
  readonly dKey: FloatSink
  readonly dValue: FloatSink
  readonly dense: Pick<AttentionBackwardResult, 'dQuery' | 'dKey' | 'dValue' | 'dBias'>
}

/** Makes the dense arrays, and clears what the task adds to. */
export function sinksOf(task: AttentionBackwardTask, context: TaskContext): Sinks {
  const {
    heads,
    rows,
    keyStart,
    keyEnd,
    biasGradient,
    settings: { headSize, valueSize },
  } = task
  const keys = keyEnd - keyStart
  const [biasRows, biasWidth] = biasGradient === undefined ? [0, 0] : biasGradientShape(biasGradient, rows, keys)
  const dense: { -readonly [Name in keyof Sinks['dense']]: Float32Array } = {}
  const open = (
    name: keyof Sinks['dense'],
    destination: Destination | undefined,
    count: number,
    length: number,
    width: number,
  ): ((index: number) => FloatSink) => {
    if (destination !== true) return () => sinkOf(destination as Slice, context)
    const array = (dense[name] = new Float32Array(count * length * width))
    return (index) => ({ array, slice: { offset: index * length * width, rowStride: width } })
  }
  const ofHeads = (name: 'dQuery' | 'dBias', length: number, width: number): FloatSink[] => {
    const make = open(name, heads[0]?.[name], heads.length, length, width)
    return heads.map((head, index) => (head[name] === true ? make(index) : sinkOf(head[name] as Slice, context)))
  }
  const dQuery = ofHeads('dQuery', rows, headSize)
  const dBias = biasGradient === undefined ? [] : ofHeads('dBias', biasRows, biasWidth)
  dQuery.forEach((sink, index) => clear(heads[index]?.dQuery, sink, rows, headSize))
  if (biasGradient === 'rows') dBias.forEach((sink, index) => clear(heads[index]?.dBias, sink, rows, 1))
  return {
    dQuery: (head) => dQuery[head] as FloatSink,
    dBias: (head) => dBias[head] as FloatSink,
    dKey: open('dKey', task.dKey, 1, keys, headSize)(0),
    dValue: open('dValue', task.dValue, 1, keys, valueSize)(0),
    dense,
  }
}

export function sinkOf(slice: Slice, context: TaskContext): FloatSink {
  return { array: context.array(slice.array) as Float32Array, slice }
}

/** New arrays are zeros already. */
function clear(
  destination: BackwardHead['dQuery'] | undefined,
  { array, slice }: FloatSink,
  rows: number,
  width: number,
): void {
  if (destination === true) return
  const { offset, rowStride, columnStride = 1 } = slice
  for (let row = 0; row < rows; row++) {
    const at = offset + row * rowStride
    if (columnStride === 1) array.fill(0, at, at + width)
    else for (let c = 0; c < width; c++) array[at + c * columnStride] = 0
  }
}
