import type { AttentionOptions } from '../../src/attention/attention-options.ts'
import { resolveLayerAttention } from '../../src/nn/layers/layer-attention-options.ts'
import type { Graph } from '../../src/program/graph.ts'
import { wholeWeight, type OperationKind, type Value } from '../../src/program/operation.ts'
import { attend } from '../../src/program/operations/attend.ts'
import { activate, add, drop, multiply, scale, subtract } from '../../src/program/operations/elementwise.ts'
import { embed } from '../../src/program/operations/embed.ts'
import { linear } from '../../src/program/operations/linear.ts'
import { crossEntropy, squaredError } from '../../src/program/operations/loss.ts'
import { norm } from '../../src/program/operations/norm.ts'
import { positions, rotate } from '../../src/program/operations/positions.ts'
import { rmsNorm } from '../../src/program/operations/rms-norm.ts'
import { rmsNormHeads } from '../../src/program/operations/rms-norm-heads.ts'
import { split } from '../../src/program/operations/split.ts'
import type { Parameter } from '../../src/program/parameter.ts'
import type { Activation } from '../../src/protocol/stage.ts'
import { exactActivations } from '../support/activations.ts'
import { philox } from '../support/philox.ts'

/** B, M and the width that a case makes its shapes from. */
export interface Sizes {
  readonly B: number
  readonly M: number
  readonly W: number
}

/** Something to compute, in float64: inputs and parameters as plain arrays, to the output's elements. */
export type Reference = (
  given: {
    readonly inputs: readonly Float64Array[]
    readonly parameters: readonly Float64Array[]
    readonly tokens: Int32Array
  },
  sizes: Sizes,
) => Float64Array

export interface OperationCase {
  /** widths of the float inputs [B, M, width], whose gradients are wanted */
  readonly inputs: (sizes: Sizes) => readonly number[]
  /** shapes of the parameters */
  readonly parameters?: (sizes: Sizes) => readonly (readonly number[])[]
  /** Int32 [B, M] from 0 to below it */
  readonly tokenKinds?: (sizes: Sizes) => number
  readonly build: (
    graph: Graph,
    inputs: readonly Value[],
    parameters: readonly Parameter[],
    tokens: Value,
    sizes: Sizes,
  ) => Value
  readonly reference: Reference
  /** what the graph's first row counts as. @default 0 */
  readonly position?: number
  /** it is a loss, each row times that */
  readonly factor?: number
  /** times the usual tolerance, and why */
  readonly slack?: number
  /** elements of each tensor that are checked by finite differences. @default 24 */
  readonly samples?: number
}

/** Of each row: the elements of all inputs side by side, to those of the output. */
function rowWise(
  row: (
    inputs: readonly Float64Array[],
    place: { readonly b: number; readonly i: number; readonly token: number },
    parameters: readonly Float64Array[],
  ) => ArrayLike<number>,
): Reference {
  return ({ inputs, parameters, tokens }, { B, M }) => {
    const rows = Array.from({ length: B * M }, (_, r) =>
      row(
        inputs.map((input) => rowOf(input, r, B * M)),
        { b: Math.floor(r / M), i: r % M, token: tokens[r]! },
        parameters,
      ),
    )
    const output = new Float64Array(B * M * (rows[0]?.length ?? 0))
    rows.forEach((each, r) => output.set(each, r * each.length))
    return output
  }
}

const rowOf = (data: Float64Array, r: number, rows: number): Float64Array =>
  data.subarray((r * data.length) / rows, ((r + 1) * data.length) / rows)
const sumOf = (values: ArrayLike<number>, of: (value: number, at: number) => number): number =>
  Array.from(values).reduce((sum, value, at) => sum + of(value, at), 0)

const one = ({ W }: Sizes): number[] => [W]
const two = ({ W }: Sizes): number[] => [W, W]
const outOf = (W: number): number => ((W * 5) % 13) + 1
const parts = (W: number): { rowStart: number; outSize: number; inSize: number } => ({
  rowStart: 3,
  outSize: outOf(W),
  inSize: W,
})

function product(
  x: Float64Array,
  weight: Float64Array,
  { rowStart, outSize, inSize }: ReturnType<typeof parts>,
): number[] {
  return Array.from({ length: outSize }, (_, o) => sumOf(x, (value, c) => value * weight[(rowStart + o) * inSize + c]!))
}

const linearCases: Readonly<Record<string, OperationCase>> = {
  'with a bias': {
    inputs: one,
    parameters: ({ W }) => [[outOf(W), W], [outOf(W)]],
    build: (graph, [x], [weight, bias]) => linear(graph, x!, wholeWeight(weight!), wholeWeight(bias!)),
    reference: rowWise(([x], _, [weight, bias]) =>
      product(x!, weight!, { ...parts(x!.length), rowStart: 0 }).map((value, o) => value + bias![o]!),
    ),
  },
  'rows of a larger weight': {
    inputs: one,
    parameters: ({ W }) => [[outOf(W) + 5, W], [outOf(W) + 5]],
    build: (graph, [x], [weight, bias], _, { W }) =>
      linear(graph, x!, { parameter: weight!, ...parts(W) }, { parameter: bias!, ...parts(W), inSize: 1 }),
    reference: rowWise(([x], _, [weight, bias]) =>
      product(x!, weight!, parts(x!.length)).map((value, o) => value + bias![3 + o]!),
    ),
  },
  'the same weight twice': {
    inputs: one,
    parameters: ({ W }) => [[W, W]],
    build: (graph, [x], [weight]) =>
      linear(graph, linear(graph, x!, wholeWeight(weight!), null), wholeWeight(weight!), null),
    reference: rowWise(([x], _, [weight]) => {
      const whole = { rowStart: 0, outSize: x!.length, inSize: x!.length }
      return product(Float64Array.from(product(x!, weight!, whole)), weight!, whole)
    }),
  },
}

const normCase = (epsilon: number, biased = true): OperationCase => ({
  inputs: one,
  parameters: ({ W }) => (biased ? [[W], [W]] : [[W]]),
  build: (graph, [x], [weight, bias]) =>
    norm(graph, x!, wholeWeight(weight!), bias === undefined ? null : wholeWeight(bias), epsilon),
  reference: rowWise(([x], _, [weight, bias]) => {
    const mean = sumOf(x!, (value) => value) / x!.length
    const deviation = Math.sqrt(sumOf(x!, (value) => (value - mean) ** 2) / x!.length + epsilon)
    return x!.map((value, c) => ((value - mean) / deviation) * weight![c]! + (bias?.[c] ?? 0))
  }),
  // Three numbers that are almost the same are divided by their small deviation, with the rounding of their mean.
  slack: 20,
})

/** Over parts of W elements, with one weight for all of them. */
const rmsNormCase = (epsilon: number, heads = 1, build: typeof rmsNorm = rmsNorm): OperationCase => ({
  inputs: ({ W }) => [heads * W],
  parameters: ({ W }) => [[W]],
  build: (graph, [x], [weight]) => build(graph, x!, wholeWeight(weight!), epsilon),
  reference: rowWise(([x], _, [weight]) => {
    const size = weight!.length
    return x!.map((value, at) => {
      const head = Math.floor(at / size) * size
      return (
        (value / Math.sqrt(sumOf(x!.subarray(head, head + size), (each) => each ** 2) / size + epsilon)) *
        weight![at % size]!
      )
    })
  }),
  // A single number close to 0 is divided by little more than itself.
  slack: 20,
})

const activateCase = (activation: Activation): OperationCase => ({
  inputs: one,
  build: (graph, [x]) => activate(graph, x!, activation),
  reference: ({ inputs: [x] }) => x!.map(exactActivations[activation]),
})

/** Of the graph's dropouts. */
export const SEED = { seedLow: 0x1234_5678, seedHigh: 0x9abc_def0 }
const dropCase = (probability: number): OperationCase => ({
  inputs: one,
  // The second dropout of a part: site 2.
  build: (graph, [x]) => drop(graph, drop(graph, x!, 0), probability),
  reference: rowWise(([x], { b, i }) =>
    x!.map((value, c) => {
      const word = philox([Math.floor(c / 4), i, b, 2], [SEED.seedLow, SEED.seedHigh])[c % 4]!
      return word >= Math.floor(probability * 2 ** 32) ? value / (1 - probability) : 0
    }),
  ),
})

/** Heads of 2·W elements that turn, and of `still` more that do not. */
const rotateCase = (heads: number, position: number, still = 0): OperationCase => ({
  position,
  inputs: ({ W }) => [(2 * W + still) * heads],
  build: (graph, [x], _parameters, _tokens, { M, W }) => {
    const table = Float32Array.from({ length: (position + M) * 2 * W }, (_, at) =>
      (at % (2 * W) < W ? Math.cos : Math.sin)(angleOf(Math.floor(at / (2 * W)), at % W)),
    )
    return rotate(
      graph,
      x!,
      graph.input('angles', { batch: 1, rows: position + M, width: 2 * W }, table, { layout: 'positions' }),
      2 * W + still,
    )
  },
  reference: rowWise(([x], { i }) => {
    const size = x!.length / heads
    const half = (size - still) / 2
    return x!.map((value, at) => {
      const c = at % size
      if (c >= 2 * half) return value
      const angle = angleOf(position + i, c % half)
      return value * Math.cos(angle) + (c < half ? -x![at + half]! : x![at - half]!) * Math.sin(angle)
    })
  }),
})

const angleOf = (position: number, c: number): number => position / (1 + 0.7 * c)

const attendCase = (keyHeads: number, options: AttentionOptions): OperationCase => ({
  inputs: ({ W }) => [4 * W, keyHeads * W, keyHeads * W],
  build: (graph, [query, key, value], _parameters, _tokens, { B, M, W }) => {
    const sizes = { batch: B, heads: 4, keyValueHeads: keyHeads, queries: M, keys: M, headSize: W }
    const inputs = { query: query!, key: key!, value: value! }
    return attend(graph, inputs, { heads: 4, keyHeads }, resolveLayerAttention(sizes, options)).context
  },
  reference: ({ inputs: [query, key, value] }, { B, M, W }) => {
    const output = new Float64Array(query!.length)
    for (let row = 0; row < B * 4 * M; row++) {
      const [b, h, i] = [Math.floor(row / (4 * M)), Math.floor(row / M) % 4, row % M]
      const keyAt = (j: number): number => ((b * M + j) * keyHeads + Math.floor((h * keyHeads) / 4)) * W
      const at = ((b * M + i) * 4 + h) * W
      const powers = Array.from({ length: options.causal === true ? i + 1 : M }, (_, j) =>
        Math.exp(sumOf(query!.subarray(at, at + W), (q, c) => q * key![keyAt(j) + c]!) / Math.sqrt(W)),
      )
      const total = sumOf(powers, (power) => power)
      powers.forEach((power, j) => {
        for (let c = 0; c < W; c++) output[at + c]! += (power / total) * value![keyAt(j) + c]!
      })
    }
    return output
  },
  samples: 2,
})

const IGNORED = 0
const crossEntropyCase = (smoothing: number): OperationCase => ({
  inputs: one,
  tokenKinds: ({ W }) => W,
  factor: 0.25,
  build: (graph, [logits], _, targets) =>
    crossEntropy(graph, logits!, targets, { ignoreIndex: IGNORED, smoothing }, 0.25),
  reference: rowWise(([logits], { token }) => {
    if (token === IGNORED) return [0]
    const logSumExp = Math.log(sumOf(logits!, Math.exp))
    return [
      logSumExp - (1 - smoothing) * logits![token]! - (smoothing / logits!.length) * sumOf(logits!, (value) => value),
    ]
  }),
})

/** Of every kind that has an adjoint, by what is special about each. */
export const CASES: Readonly<Partial<Record<OperationKind, Readonly<Record<string, OperationCase>>>>> = {
  linear: linearCases,
  norm: {
    'a small epsilon': normCase(1e-5),
    'a large epsilon': normCase(0.5),
    'without a bias': normCase(0.01, false),
  },
  'rms-norm': { 'a small epsilon': rmsNormCase(1e-6), 'a large epsilon': rmsNormCase(0.5) },
  'rms-norm-heads': {
    'one head': rmsNormCase(0.01, 1, rmsNormHeads),
    'three heads': rmsNormCase(0.01, 3, rmsNormHeads),
  },
  add: {
    'two values': {
      inputs: two,
      build: (graph, [a, b]) => add(graph, a!, b!),
      reference: rowWise(([a, b]) => a!.map((value, c) => value + b![c]!)),
    },
    'a value and itself': {
      inputs: one,
      build: (graph, [a]) => add(graph, a!, a!),
      reference: ({ inputs: [a] }) => a!.map((value) => 2 * value),
    },
  },
  subtract: {
    'two values': {
      inputs: two,
      build: (graph, [a, b]) => subtract(graph, a!, b!),
      reference: rowWise(([a, b]) => a!.map((value, c) => value - b![c]!)),
    },
  },
  multiply: {
    'two values': {
      inputs: two,
      build: (graph, [a, b]) => multiply(graph, a!, b!),
      reference: rowWise(([a, b]) => a!.map((value, c) => value * b![c]!)),
    },
    'a value and itself': {
      inputs: one,
      build: (graph, [a]) => multiply(graph, a!, a!),
      reference: ({ inputs: [a] }) => a!.map((value) => value * value),
    },
    'with what it was made of': {
      inputs: one,
      build: (graph, [a]) => multiply(graph, activate(graph, a!, 'gelu'), a!),
      reference: ({ inputs: [a] }) => a!.map((value) => exactActivations.gelu(value) * value),
    },
  },
  scale: {
    'by −1.5': {
      inputs: one,
      build: (graph, [x]) => scale(graph, x!, -1.5),
      reference: ({ inputs: [x] }) => x!.map((value) => -1.5 * value),
    },
  },
  activate: Object.fromEntries(
    (['relu', 'gelu', 'gelu-tanh', 'silu'] as const).map((activation) => [activation, activateCase(activation)]),
  ),
  drop: { 'a tenth': dropCase(0.1), most: dropCase(0.75) },
  rotate: {
    'one head': rotateCase(1, 0),
    'three heads, from a position on': rotateCase(3, 5),
    'a part of two heads': rotateCase(2, 1, 3),
  },
  embed: {
    'with a scale': {
      inputs: () => [],
      parameters: ({ W }) => [[7, W]],
      tokenKinds: () => 6,
      build: (graph, _, [table], tokens) => embed(graph, tokens, table!, 1.75),
      reference: rowWise((_, { token }, [table]) => rowOf(table!, token, 7).map((value) => 1.75 * value)),
    },
  },
  positions: {
    'learned, from a position on': {
      position: 2,
      inputs: one,
      parameters: ({ M, W }) => [[M + 4, W]],
      build: (graph, [x], [table]) =>
        add(
          graph,
          x!,
          positions(
            graph,
            graph.input('table', { batch: 1, rows: table!.shape[0]!, width: x!.width }, table!.data, {
              layout: 'positions',
            }),
            x!,
            table!,
          ),
        ),
      reference: rowWise(([x], { i }, [table]) => x!.map((value, c) => value + table![(i + 2) * x!.length + c]!)),
    },
  },
  split: {
    'three heads': {
      inputs: ({ W }) => [3 * W],
      // A gradient that nothing is done to would be the caller's own array, head by head.
      build: (graph, [x]) => split(graph, scale(graph, x!, 2), 3),
      reference: ({ inputs: [x] }, { B, M, W }) =>
        Float64Array.from({ length: B * M * 3 * W }, (_, at) => {
          const [b, h, i, c] = [
            Math.floor(at / (3 * M * W)),
            Math.floor(at / (M * W)) % 3,
            Math.floor(at / W) % M,
            at % W,
          ]
          return 2 * x![((b * M + i) * 3 + h) * W + c]!
        }),
    },
  },
  attend: { 'all keys': attendCase(4, {}), 'causal, grouped heads': attendCase(2, { causal: true }) },
  'cross-entropy': { 'without smoothing': crossEntropyCase(0), 'with smoothing': crossEntropyCase(0.2) },
  'squared-error': {
    'of two values': {
      inputs: one,
      factor: 0.25,
      build: (graph, [x], _parameters, _tokens, { B, M, W }) =>
        squaredError(
          graph,
          x!,
          graph.input(
            'target',
            { batch: B, rows: M, width: W },
            Float32Array.from({ length: B * M * W }, (_, at) => Math.fround(Math.sin(at))),
          ),
          0.25,
        ),
      reference: ({ inputs: [x] }, { B, M, W }) =>
        Float64Array.from({ length: B * M }, (_, r) =>
          sumOf(rowOf(x!, r, B * M), (value, c) => (value - Math.fround(Math.sin(r * W + c))) ** 2),
        ),
    },
  },
}
