import type { Tensor } from '../core/tensor.ts'
import { OptionError } from '../core/errors.ts'
import { generateTokens } from '../nn/generation/generate.ts'
import type { GenerateOptions } from '../nn/generation/options.ts'
import type { Prompt } from '../nn/generation/prompts.ts'
import type { KeyValueCache } from '../nn/key-value-cache.ts'
import { readTokens, tokensOf } from '../nn/layers/embedding.ts'
import { Module, type CacheUse } from '../nn/module.ts'
import type { Graph } from '../program/graph.ts'
import type { Value } from '../program/operation.ts'
import type { TransformerForward, TransformerModel } from './transformer-model.ts'

/** A decoder of the hub with its head: tokens [B, M] to logits [B, M, vocabulary]. It shares the model's parameters. */
export class HubLanguageModel extends Module<Int32Array, TransformerForward> {
  /** a token per row */
  readonly inputDim = 1
  /** V: how many logits a row has */
  readonly vocabulary: number
  /** E */
  readonly modelDim: number
  /** the model underneath, whose parameters it shares */
  readonly transformer: TransformerModel

  /**
   * @param transformer a decoder; its parameters are shared
   */
  constructor(transformer: TransformerModel) {
    super()
    this.transformer = this.addModule('', transformer)
    this.vocabulary = transformer.vocabulary
    this.modelDim = transformer.modelDim
  }

  override get label(): string {
    return 'HubLanguageModel'
  }

  /**
   * Continues token sequences one token at a time; see `CausalLanguageModel.generate`.
   *
   * @param prompt Int32 [B, M] or [M], at least one token each
   */
  generate(prompt: Tensor<Int32Array>, options: GenerateOptions): Promise<Tensor<Int32Array>>
  /**
   * The same for prompts of any lengths in one batch.
   *
   * @param prompts token ids of each sequence, at least one each
   * @returns each prompt with what follows it, up to its stop token
   */
  generate(prompts: readonly Prompt[], options: GenerateOptions): Promise<Int32Array[]>
  async generate(
    prompts: Tensor<Int32Array> | readonly Prompt[],
    options: GenerateOptions,
  ): Promise<Tensor<Int32Array> | Int32Array[]> {
    for (const name of ['window', 'sinks'] as const) {
      if (Object.hasOwn(options, name) && options[name] !== undefined)
        throw new OptionError(
          `generate: expected no option ${name}: a model of the hub has the windows of its config, got one`,
        )
    }
    return generateTokens(this, prompts, options)
  }

  /**
   * One cache per layer, for `batch` sequences of up to `capacity` tokens.
   *
   * @param batch how many sequences
   * @param capacity tokens per sequence, prompt included
   * @throws {OptionError} {MemoryBudgetError}
   */
  createCaches(batch: number, capacity: number): KeyValueCache[] {
    return this.transformer.createCaches(batch, capacity)
  }

  /**
   * Tokens to logits [B, M, vocabulary].
   *
   * @param graph the graph that is built
   * @param tokens Int32 [B, M]
   */
  override build(graph: Graph, tokens: Value, options: TransformerForward = {}): Value {
    return this.buildHead(graph, this.buildHidden(graph, tokens, options))
  }

  /**
   * Tokens to hidden rows [B, M, E], the last norm included.
   *
   * @param graph the graph that is built
   * @param tokens Int32 [B, M]
   */
  buildHidden(graph: Graph, tokens: Value, options: TransformerForward = {}): Value {
    return this.transformer.buildHidden(graph, tokens, options)
  }

  /**
   * Hidden rows to logits [B, M, vocabulary].
   *
   * @param graph the graph that is built
   * @param hidden [B, M, E]
   */
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

  protected override readInput(_what: string, input: unknown): Tensor<Int32Array> {
    return readTokens(`${this.label}: tokens`, input, this.vocabulary)
  }
}
