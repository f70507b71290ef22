/** ONNX models of one node, written as protocol buffers: what the peer runs. */

type Field = readonly [number: number, value: number | string | Uint8Array]
type Dimensions = readonly (number | string)[]

export interface OneNode {
  readonly operation: string
  readonly domain?: string
  readonly inputs: Readonly<Record<string, Dimensions>>
  readonly output: Dimensions
  readonly attributes?: Readonly<Record<string, number>>
}

export function oneNodeModel({ operation, domain = '', inputs, output, attributes = {} }: OneNode): Uint8Array {
  const node = message([
    ...Object.keys(inputs).map((name): Field => [1, name]),
    [2, 'output'],
    [4, operation],
    ...Object.entries(attributes).map(([name, value]): Field => [
      5,
      message([
        [1, name],
        [3, value],
        [20, 2],
      ]),
    ]),
    [7, domain],
  ])
  const graph = message([
    [1, node],
    [2, operation],
    ...Object.entries(inputs).map(([name, shape]): Field => [11, valueInfo(name, shape)]),
    [12, valueInfo('output', output)],
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

function valueInfo(name: string, shape: Dimensions): Uint8Array {
  const dims = shape.map((size): Field => [1, message([typeof size === 'number' ? [1, size] : [2, size]])])
  return message([
    [1, name],
    [
      2,
      message([
        [
          1,
          message([
            [1, 1],
            [2, message(dims)],
          ]),
        ],
      ]),
    ],
  ])
}

function message(fields: readonly Field[]): Uint8Array {
  return Uint8Array.from(
    fields.flatMap(([number, value]) => {
      if (typeof value === 'number') return [...varint(number << 3), ...varint(value)]
      const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value
      return [...varint((number << 3) | 2), ...varint(bytes.length), ...bytes]
    }),
  )
}

function varint(value: number): number[] {
  const bytes: number[] = []
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128)
  return [...bytes, value]
}
