/** ONNX graphs with weights, written as protocol buffers: what the peer runs. */

type Field = readonly [number: number, value: number | string | Uint8Array]

export interface OnnxNode {
  readonly operation: string
  readonly domain?: string
  readonly inputs: readonly string[]
  readonly output: string
  readonly attributes?: Readonly<Record<string, number>>
}

export interface OnnxGraph {
  readonly nodes: readonly OnnxNode[]
  readonly weights: Readonly<Record<string, { readonly data: Float32Array; readonly shape: readonly number[] }>>
  readonly inputs: readonly OnnxValue[]
  readonly output: OnnxValue
}

/** What goes into a graph, or comes out. */
export interface OnnxValue {
  readonly name: string
  /** a name in place of a size: any size */
  readonly shape: readonly (number | string)[]
  /** @default 'float32' */
  readonly type?: 'float32' | 'int64'
}

/** TensorProto.DataType */
const TYPES = { float32: 1, int64: 7 } as const

export function onnxModel({ nodes, weights, inputs, output }: OnnxGraph): Uint8Array {
  const graph = message([
    ...nodes.map((node): Field => [1, nodeMessage(node)]),
    [2, 'graph'],
    ...Object.entries(weights).map(([name, weight]): Field => [5, tensorMessage(name, weight.data, weight.shape)]),
    ...inputs.map((input): Field => [11, valueInfo(input)]),
    [12, valueInfo(output)],
  ])
  return message([
    [1, 8],
    [
      8,
      message([
        [1, ''],
        [2, 17],
      ]),
    ],
    [
      8,
      message([
        [1, 'com.microsoft'],
        [2, 1],
      ]),
    ],
    [7, graph],
  ])
}

function nodeMessage({ operation, domain = '', inputs, output, attributes = {} }: OnnxNode): Uint8Array {
  const integers = Object.entries(attributes).map(([name, value]): Field => [
    5,
    message([
      [1, name],
      [3, value],
      [20, 2],
    ]),
  ])
  return message([...inputs.map((name): Field => [1, name]), [2, output], [4, operation], ...integers, [7, domain]])
}

function tensorMessage(name: string, data: Float32Array, shape: readonly number[]): Uint8Array {
  const raw = new Uint8Array(data.slice().buffer)
  return message([...shape.map((size): Field => [1, size]), [2, 1], [8, name], [9, raw]])
}

function valueInfo({ name, shape, type = 'float32' }: OnnxValue): Uint8Array {
  const dims = shape.map((size): Field => [1, message([typeof size === 'number' ? [1, size] : [2, size]])])
  return message([
    [1, name],
    [
      2,
      message([
        [
          1,
          message([
            [1, TYPES[type]],
            [2, message(dims)],
          ]),
        ],
      ]),
    ],
  ])
}

function message(fields: readonly Field[]): Uint8Array {
  const parts = fields.flatMap(([number, value]): Uint8Array[] => {
    if (typeof value === 'number') return [Uint8Array.from([...varint(number << 3), ...varint(value)])]
    const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value
    return [Uint8Array.from([...varint((number << 3) | 2), ...varint(bytes.length)]), bytes]
  })
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0))
  let place = 0
  for (const part of parts) {
    whole.set(part, place)
    place += part.length
  }
  return whole
}

function varint(value: number): number[] {
  const bytes: number[] = []
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128)
  return [...bytes, value]
}
