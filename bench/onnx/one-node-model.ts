import { onnxModel } from './onnx-model.ts'

export interface OneNode {
  readonly operation: string
  readonly domain?: string
  /** by name, the shape; a name in place of a size: any size */
  readonly inputs: Readonly<Record<string, readonly (number | string)[]>>
  readonly output: readonly (number | string)[]
  readonly attributes?: Readonly<Record<string, number>>
}

/** An ONNX model of one node, whose output is named `output`. */
export function oneNodeModel({ inputs, output, ...node }: OneNode): Uint8Array {
  return onnxModel({
    nodes: [{ ...node, inputs: Object.keys(inputs), output: 'output' }],
    weights: {},
    inputs: Object.entries(inputs).map(([name, shape]) => ({ name, shape })),
    output: { name: 'output', shape: output },
  })
}
