import { OptionError } from '../core/errors.ts'
import type { Tensor } from '../core/tensor.ts'
import type { GenerateOptions } from '../nn/generation/options.ts'
import type { Prompt } from '../nn/generation/prompts.ts'
import { DocumentReader, type EmbedInput } from './documents.ts'
import { resolveEmbedOptions, type EmbedOptions } from './embed-options.ts'
import { Embedder, EmbedTally, type DocumentEmbedding, type EmbedReport } from './embedder.ts'
import { HubLanguageModel } from './language-model.ts'
import type { ModelPlan } from './model-plan.ts'
import type { ModelFiles } from './model-source.ts'
import type { Pooling } from './pooling.ts'
import type { WeightReport } from './read-weights.ts'
import { loadTokenizer, type Tokenizer } from './tokenizer.ts'
import type { TransformerModel } from './transformer-model.ts'

interface LoadedParts {
  readonly model: TransformerModel
  readonly plan: ModelPlan
  readonly weights: WeightReport
  readonly config: Readonly<Record<string, unknown>>
  readonly files: ModelFiles
  readonly tokenizer: Tokenizer | undefined
  readonly defaults: { readonly pooling: Pooling; readonly normalize: boolean }
}

/** A model with its weights. Made by `loadModel`. */
export class LoadedModel {
  /** the layers: tokens to hidden rows, with `forward`, `backward`, `plan` and training */
  readonly transformer: TransformerModel
  /** tokens to logits, over the same parameters; null for encoders */
  readonly languageModel: HubLanguageModel | null
  /** what the model was planned to be, from its config */
  readonly plan: ModelPlan
  /** which files and tensors were read, and which were left out */
  readonly weights: WeightReport
  /** `config.json` */
  readonly config: Readonly<Record<string, unknown>>
  /** how rows become vectors where a call does not say */
  readonly defaults: {
    /** How rows become one vector. */
    readonly pooling: Pooling
    /** Whether vectors are divided by their length. */
    readonly normalize: boolean
  }
  readonly #embedder: Embedder
  readonly #files: ModelFiles
  #tokenizer: Promise<Tokenizer> | null

  /** @internal */
  constructor({ model, plan, weights, config, files, tokenizer, defaults }: LoadedParts) {
    this.transformer = model
    this.languageModel = plan.architecture.head === null ? null : new HubLanguageModel(model)
    this.plan = plan
    this.weights = weights
    this.config = config
    this.defaults = defaults
    this.#files = files
    this.#tokenizer = tokenizer === undefined ? null : Promise.resolve(tokenizer)
    this.#embedder = new Embedder(model, new DocumentReader(model.vocabulary, () => this.tokenizer()))
  }

  /** The longest text, in tokens. */
  get maxLength(): number {
    return this.transformer.maxLength
  }

  /** E: the length of a vector. */
  get modelDim(): number {
    return this.transformer.modelDim
  }

  /**
   * The model's tokenizer, read at the first call. @throws {FormatError} {BackendUnavailableError} where there is none:
   * token ids always work
   */
  tokenizer(): Promise<Tokenizer> {
    this.#tokenizer ??= loadTokenizer(this.#files)
    return this.#tokenizer
  }

  /**
   * A text's vector, from its hidden rows. A text of any length that the model's positions allow goes through the model
   * whole; a longer one is an error unless `onTooLong` says what to do.
   *
   * @param document a text, its token ids (with the special tokens that the model expects), or an object with passages
   *   or spans, each of which gets a vector of its own
   * @throws {OptionError} for an empty text, ids beyond the vocabulary, spans outside of the text, and a text that is
   *   too long
   * @throws {MemoryBudgetError} and the signal's reason, as every `forward` does
   *
   * @example
   * ```js
   * import { loadModel } from 'heddle/models'
   *
   * const model = await loadModel('examples/document-search/tiny-model')
   * const passages = ['A loom holds the warp.', 'The heddle separates it.']
   * const { spans } = await model.embed({ passages }) // one vector per passage, each in the document's context
   * console.log(spans.shape[0]) // 2
   * ```
   */
  embed(
    document: EmbedInput,
    options?: EmbedOptions,
  ): Promise<
    DocumentEmbedding & {
      /** how the call was run, and what it took */
      readonly report: EmbedReport
    }
  >
  /**
   * The same for several texts. Short ones share a pass, sorted by length; nothing is padded.
   *
   * @param documents texts, token ids, or objects with passages or spans
   */
  embed(
    documents: readonly EmbedInput[],
    options?: EmbedOptions,
  ): Promise<{
    /** in the order of the documents */
    readonly embeddings: readonly DocumentEmbedding[]
    /** how the call was run, and what it took */
    readonly report: EmbedReport
  }>
  async embed(input: EmbedInput | readonly EmbedInput[], options: EmbedOptions = {}): Promise<object> {
    const resolved = resolveEmbedOptions(options, this.defaults)
    const tally = new EmbedTally()
    if (Array.isArray(input)) {
      const embeddings = await this.#embedder.embed(
        input as readonly EmbedInput[],
        resolved,
        tally,
        (index) => `embed: document ${index}`,
      )
      return { embeddings, report: tally.report() }
    }
    const [embedding] = await this.#embedder.embed([input as EmbedInput], resolved, tally, () => 'embed: document')
    return { ...embedding, report: tally.report() }
  }

  /**
   * The vectors of texts that come one after the other, in their order. `readAhead` texts are read at once, to be
   * sorted by length and packed; memory holds no more than those.
   *
   * @param documents texts, token ids, or objects with passages or spans, of any number
   *
   * @example
   * ```js
   * import { loadModel } from 'heddle/models'
   *
   * const model = await loadModel('examples/document-search/tiny-model')
   * for await (const { index } of model.embedStream(['a loom', 'a tide table'])) console.log(`text ${index}`)
   * ```
   */
  embedStream(
    documents: Iterable<EmbedInput> | AsyncIterable<EmbedInput>,
    options: EmbedOptions = {},
  ): AsyncGenerator<
    DocumentEmbedding & {
      /** index of the document in the order in which they were given */
      readonly index: number
    }
  > {
    return this.#embedder.stream(documents, resolveEmbedOptions(options, this.defaults))
  }

  /**
   * Continues token sequences, as `CausalLanguageModel.generate` does.
   *
   * @param prompt Int32 [B, M] or [M], at least one token each
   * @throws {OptionError} for encoders
   */
  generate(prompt: Tensor<Int32Array>, options: GenerateOptions): Promise<Tensor<Int32Array>>
  /**
   * The same for prompts of any lengths in one batch.
   *
   * @param prompts token ids of each sequence, at least one each
   */
  generate(prompts: readonly Prompt[], options: GenerateOptions): Promise<Int32Array[]>
  async generate(
    prompts: Tensor<Int32Array> | readonly Prompt[],
    options: GenerateOptions,
  ): Promise<Tensor<Int32Array> | Int32Array[]> {
    if (this.languageModel === null)
      throw new OptionError(`generate: expected a decoder, got the encoder ${this.plan.family}`)
    return 'shape' in prompts
      ? this.languageModel.generate(prompts, options)
      : this.languageModel.generate(prompts, options)
  }
}
