// A layer of one's own: a gated feed-forward with a residual (Shazeer 2020, "GLU variants improve transformer"). It
// says what it computes; forward, backward, plans and training follow from that.
import { activate, add, linear, Module, multiply, Parameter, wholeWeight, xavierUniform } from 'heddle/nn'

/**
 * y = x + W_down·(silu(W_gate·x) ∘ (W_up·x)). Parameters: `gate`, `up` [hidden, modelDim], `down` [modelDim, hidden].
 */
export class GatedFeedForward extends Module {
  constructor(modelDim, hidden, seed = 0) {
    super()
    this.inputDim = modelDim
    const weight = (name, shape, index) => {
      const parameter = this.addParameter(name, new Parameter(shape))
      xavierUniform(parameter, seed + index)
      return wholeWeight(parameter)
    }
    this.gate = weight('gate', [hidden, modelDim], 0)
    this.up = weight('up', [hidden, modelDim], 1)
    this.down = weight('down', [modelDim, hidden], 2)
  }

  build(graph, input) {
    const gate = activate(graph, linear(graph, input, this.gate, null), 'silu')
    const gated = multiply(graph, gate, linear(graph, input, this.up, null))
    return add(graph, linear(graph, gated, this.down, null), input)
  }
}
