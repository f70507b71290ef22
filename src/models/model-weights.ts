import type { Graph } from '../program/graph.ts'
import { wholeWeight, type Value, type WeightView } from '../program/operation.ts'
import { linear } from '../program/operations/linear.ts'
import { norm } from '../program/operations/norm.ts'
import { rmsNorm } from '../program/operations/rms-norm.ts'
import { rmsNormHeads } from '../program/operations/rms-norm-heads.ts'
import type { Parameter } from '../program/parameter.ts'
import type { LinearSpec, NormSpec } from './architecture.ts'

/** The parameters of a model by their names, and the operations that use them. */
export class ModelWeights {
  constructor(readonly parameters: ReadonlyMap<string, Parameter>) {}

  parameter(name: string): Parameter {
    const found = this.parameters.get(name)
    if (found === undefined) throw new RangeError(`model: no parameter ${name}`)
    return found
  }

  linear(graph: Graph, { name, inSize, outSize, bias, part }: LinearSpec, from: Value, purpose?: string): Value {
    const rowStart = part?.rowStart ?? 0
    const weight = { parameter: this.parameter(`${name}.weight`), rowStart, outSize, inSize }
    const biases = bias ? { parameter: this.parameter(`${name}.bias`), rowStart, outSize, inSize: 1 } : null
    return linear(graph, from, weight, biases, purpose)
  }

  /** from·Wᵀ */
  product(graph: Graph, weight: WeightView, from: Value): Value {
    return linear(graph, from, weight, null)
  }

  norm(graph: Graph, { name, kind, bias, epsilon }: NormSpec, from: Value): Value {
    const weight = wholeWeight(this.parameter(`${name}.weight`))
    const output =
      kind === 'rms'
        ? rmsNorm(graph, from, weight, epsilon)
        : norm(graph, from, weight, bias ? wholeWeight(this.parameter(`${name}.bias`)) : null, epsilon)
    graph.trace('norm', output)
    return output
  }

  /** Over each head. */
  headNorm(graph: Graph, { name, epsilon }: NormSpec, from: Value): Value {
    return rmsNormHeads(graph, from, wholeWeight(this.parameter(`${name}.weight`)), epsilon)
  }
}
