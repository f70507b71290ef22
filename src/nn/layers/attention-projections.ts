import { checkInteger, checkNames, checkOneOf } from '../../core/check.ts'
import { OptionError } from '../../core/errors.ts'
import type { SeedWords } from '../../core/philox.ts'
import { deriveSeed, seedValue, seedWords, type Seed } from '../../core/seed.ts'
import type { Graph } from '../../program/graph.ts'
import type { Value, WeightView } from '../../program/operation.ts'
import { linear } from '../../program/operations/linear.ts'
import { Parameter } from '../../program/parameter.ts'
import type { ForwardOptions } from '../forward-options.ts'
import { initialise, WEIGHT_INITIALISATIONS, type WeightInitialisation } from '../initialisers.ts'
import { Module } from '../module.ts'
import { checkProbability } from './dropout.ts'
import { Linear } from './linear.ts'
import { RotaryTable } from './rotary.ts'
import { resolveRotaryOptions, type RotaryOptions } from './rotary-frequencies.ts'

/** What `MultiHeadAttention` takes. */
export interface MultiHeadAttentionOptions {
  /** E */
  readonly modelDim: number
  /** H; divides modelDim */
  readonly heads: number
  /** Hkv; divides heads. @default heads */
  readonly keyValueHeads?: number
  /** @default true */
  readonly bias?: boolean
  /** of the attention weights, in training mode. @default 0 */
  readonly dropout?: number
  /** Rotary positions on queries and keys; a number is their base. @default false (true is 10000) */
  readonly rotary?: boolean | number | RotaryOptions
  /** @default 'xavier-uniform', for each of the four projections alone, as in the guide; biases are zeros */
  readonly initialisation?: WeightInitialisation
  /** @default 0 */
  readonly seed?: Seed
}

const NAMES: readonly (keyof MultiHeadAttentionOptions)[] = [
  'modelDim',
  'heads',
  'keyValueHeads',
  'bias',
  'dropout',
  'rotary',
  'initialisation',
  'seed',
]

/** Which of the three projections. */
export type Projection = 'query' | 'key' | 'value'

/**
 * The parameters of multi-head attention, and its projections. Parameters, in PyTorch's layout:
 * `in_proj_weight` [(H + 2·Hkv)·D, E] (query, key, value), `in_proj_bias`, `out_proj.weight` [E, E], `out_proj.bias`.
 */
export abstract class AttentionProjections<Options extends ForwardOptions> extends Module<Float32Array, Options> {
  readonly inputDim: number
  /** E */
  readonly modelDim: number
  /** H */
  readonly heads: number
  /** Hkv */
  readonly keyValueHeads: number
  /** D = modelDim / heads */
  readonly headSize: number
  /** probability with which a weight is dropped in training mode */
  readonly dropout: number
  /** angles of rotary positions; null without them */
  readonly rotary: RotaryTable | null
  /** the projections of query, key and value, in that order: [(H + 2·Hkv)·D, E] */
  readonly inProjWeight: Parameter
  /** [(H + 2·Hkv)·D]; null without a bias */
  readonly inProjBias: Parameter | null
  /** the projection of the joined heads */
  readonly outProj: Linear

  /** @throws {OptionError} for unknown names, wrong values, or heads that do not divide */
  constructor(options: MultiHeadAttentionOptions) {
    super()
    options = checkNames('MultiHeadAttention: options', options, NAMES)
    const {
      modelDim,
      heads,
      keyValueHeads = heads,
      bias = true,
      dropout = 0,
      initialisation = 'xavier-uniform',
      seed = 0,
    } = options
    checkSizes(modelDim, heads, keyValueHeads)
    checkProbability('MultiHeadAttention: option dropout', dropout)
    checkOneOf('MultiHeadAttention: option initialisation', initialisation, WEIGHT_INITIALISATIONS)
    this.inputDim = modelDim
    this.modelDim = modelDim
    this.heads = heads
    this.keyValueHeads = keyValueHeads
    this.headSize = modelDim / heads
    this.dropout = dropout
    this.rotary = resolveRotary(options.rotary, this.headSize)
    const rows = (heads + 2 * keyValueHeads) * this.headSize
    const words = seedWords('MultiHeadAttention: option seed', seed)
    this.inProjWeight = this.addParameter('in_proj_weight', new Parameter([rows, modelDim]))
    this.inProjBias = bias ? this.addParameter('in_proj_bias', new Parameter([rows])) : null
    this.outProj = this.addModule(
      'out_proj',
      new Linear(modelDim, modelDim, { bias, initialisation, seed: seedValue(deriveSeed(words, 3)) }),
    )
    for (const [index, name] of (['query', 'key', 'value'] as const).entries()) {
      const { rowStart, outSize } = this.part(name)
      initialise(this.inProjWeight, initialisation, seedValue(deriveSeed(words, index)), { rowStart, rows: outSize })
    }
  }

  /** Whether a forward pass drops weights now. */
  override get drops(): boolean {
    return this.training && this.dropout > 0
  }

  /**
   * The seed of attention's dropout, or null.
   *
   * @param seed of the layer; null where no dropout is active
   */
  attentionSeed(seed: SeedWords | null): SeedWords | null {
    return this.drops ? seed : null
  }

  /**
   * Rows of `in_proj_weight` that make one of the three.
   *
   * @param name query, key or value
   */
  part(name: Projection): WeightView {
    const query = this.heads * this.headSize
    const other = this.keyValueHeads * this.headSize
    const rowStart = { query: 0, key: query, value: query + other }[name]
    return { parameter: this.inProjWeight, rowStart, outSize: name === 'query' ? query : other, inSize: this.modelDim }
  }

  /**
   * Rows [B, M, E] projected to [B, M, heads·D], with their rotary positions.
   *
   * @param graph the graph that is built
   * @param name query, key or value
   * @param from [B, M, E]
   */
  project(graph: Graph, name: Projection, from: Value): Value {
    const weight = this.part(name)
    const bias =
      this.inProjBias === null
        ? null
        : { parameter: this.inProjBias, rowStart: weight.rowStart, outSize: weight.outSize, inSize: 1 }
    const projected = linear(graph, from, weight, bias, PURPOSES[name])
    const turned = this.rotary === null || name === 'value' ? projected : this.rotary.build(graph, projected)
    graph.trace(name, turned, [from.batch, weight.outSize / this.headSize, from.rows, this.headSize])
    return turned
  }

  /**
   * The output projection of the context [B, M, H·D].
   *
   * @param graph the graph that is built
   * @param context [B, M, H·D]
   */
  projectOut(graph: Graph, context: Value): Value {
    const output = this.outProj.apply(graph, context)
    graph.trace('attention output', output)
    return output
  }
}

const PURPOSES: Readonly<Record<Projection, string>> = { query: 'queries', key: 'keys', value: 'values' }

function checkSizes(modelDim: unknown, heads: unknown, keyValueHeads: unknown): void {
  checkInteger('MultiHeadAttention: option modelDim', modelDim, 1)
  checkInteger('MultiHeadAttention: option heads', heads, 1)
  checkInteger('MultiHeadAttention: option keyValueHeads', keyValueHeads, 1)
  if (modelDim % heads !== 0)
    throw new OptionError(`MultiHeadAttention: expected heads that divide modelDim ${modelDim}, got ${heads}`)
  if (heads % keyValueHeads !== 0)
    throw new OptionError(`MultiHeadAttention: expected keyValueHeads that divide heads ${heads}, got ${keyValueHeads}`)
}

function resolveRotary(rotary: unknown, headSize: number): RotaryTable | null {
  if (rotary === undefined || rotary === false) return null
  const what = 'MultiHeadAttention: option rotary'
  const given: unknown = rotary === true ? {} : typeof rotary === 'object' ? rotary : { base: rotary }
  const options = given as RotaryOptions
  if (options.size === undefined && headSize % 2 !== 0)
    throw new OptionError(`MultiHeadAttention: expected an even head size for rotary positions, got ${headSize}`)
  return new RotaryTable(headSize, resolveRotaryOptions(what, options, headSize))
}
