import type { Tensor } from '../core/tensor.ts'
import { generateTokens, type GenerateOptions } from '../nn/generate.ts'
import type { KeyValueCache } from '../nn/key-value-cache.ts'
import { checkTokens, tokensOf } from '../nn/layers/embedding.ts'
import { Module, type CacheUse } from '../nn/module.ts'
import type { Graph } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'
import type { TransformerForward, TransformerModel } from './transformer-model.ts'

/** A decoder of the hub with its head: tokens [B, M] to logits [B, M, vocabulary]. It shares the model's parameters. */
export class HubLanguageModel extends Module<Int32Array, TransformerForward> {
  /** a token per row */
  readonly inputDim = 1
  readonly vocabulary: number
  readonly modelDim: number
  readonly transformer: TransformerModel

  constructor(transformer: TransformerModel) {
    super()
    this.transformer = this.addModule('', transformer)
    this.vocabulary = transformer.vocabulary
    this.modelDim = transformer.modelDim
  }

  override get label(): string {
    return 'HubLanguageModel'
  }

  /** Continues token sequences one token at a time; see `CausalLanguageModel.generate`. */
  generate(prompt: Tensor<Int32Array>, options: GenerateOptions): Promise<Tensor<Int32Array>> {
    return generateTokens(this, prompt, options)
  }

  createCaches(batch: number, capacity: number): KeyValueCache[] {
    return this.transformer.createCaches(batch, capacity)
  }

  override build(graph: Graph, tokens: Value, options: TransformerForward = {}): Value {
    return this.buildHead(graph, this.buildHidden(graph, tokens, options))
  }

  buildHidden(graph: Graph, tokens: Value, options: TransformerForward = {}): Value {
    return this.transformer.buildHidden(graph, tokens, options)
  }

  buildHead(graph: Graph, hidden: Value): Value {
    return this.transformer.buildHead(graph, hidden)
  }

  protected override get scope(): string {
    return ''
  }

  protected override get optionNames(): readonly string[] {
    return ['segments', 'positions', 'tokenTypes', 'caches']
  }

  protected override cachesOf({ caches }: TransformerForward): readonly CacheUse[] {
    return this.transformer.cacheUses(caches)
  }

  protected override valueOf(graph: Graph, name: string, shape: readonly number[], data: Int32Array | null): Value {
    return tokensOf(graph, `${this.label}: ${name}`, shape, data)
  }

  protected override checkInput(_what: string, input: Tensor<Int32Array>): void {
    checkTokens(`${this.label}: tokens`, input, this.vocabulary)
  }
}
