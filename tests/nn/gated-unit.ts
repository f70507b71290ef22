import { add, activate, Linear, Module, multiply, RMSNorm, type Graph, type Value } from 'heddle/nn'

/**
 * A layer as a user would write it: Llama's feed-forward behind its norm, x + down(silu(gate(n)) ∘ up(n)), n = norm(x).
 */
export class GatedUnit extends Module {
  readonly norm: RMSNorm
  readonly gate: Linear
  readonly up: Linear
  readonly down: Linear

  constructor(
    readonly inputDim: number,
    hidden: number,
    epsilon = 1e-6,
  ) {
    super()
    this.norm = this.addModule('norm', new RMSNorm(inputDim, epsilon))
    this.gate = this.addModule('gate_proj', new Linear(inputDim, hidden, { bias: false, seed: 1 }))
    this.up = this.addModule('up_proj', new Linear(inputDim, hidden, { bias: false, seed: 2 }))
    this.down = this.addModule('down_proj', new Linear(hidden, inputDim, { bias: false, seed: 3 }))
  }

  override build(graph: Graph, input: Value): Value {
    const normed = this.norm.build(graph, input)
    const gated = multiply(graph, activate(graph, this.gate.build(graph, normed), 'silu'), this.up.build(graph, normed))
    return add(graph, input, this.down.build(graph, gated))
  }
}
