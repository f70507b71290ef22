import { FormatError } from '../core/errors.ts'
import { describe } from '../core/tensor.ts'

/**
 * Options of a config that say nothing about what a forward pass computes: names and ids of tokens, labels, training,
 * generation, file formats, and how PyTorch is to compute the same.
 */
const NEUTRAL = [
  /^_/,
  /^(architectures|auto_map|model_type|torch_dtype|dtype|transformers_version|tokenizer_class|torchscript|export_model_type|transformers\.js_config)$/,
  /_token_id$/,
  /^(id2label|label2id|num_labels|problem_type|finetuning_task|task_specific_params|matryoshka_dimensions|model_max_length)$/,
  /^(classifier_.*|summary_.*|pooler_.*|emb_pooler|directionality)$/,
  /(dropout|_pdrop)(_prob)?$/,
  /^(initializer_range|initializer_factor|initializer_cutoff_factor|gradient_checkpointing|use_cache|cache_implementation)$/,
  /^(output_attentions|output_hidden_states|output_past|output_scores|return_dict|return_dict_in_generate)$/,
  /^(top_k|top_p|temperature|do_sample|num_beams|max_length|min_length|max_new_tokens|repetition_penalty|length_penalty|no_repeat_ngram_size|num_return_sequences)$/,
  /^(use_flash_attn|fused_.*|use_xentropy|dense_seq_output|attn_implementation|reference_compile|deterministic_flash_attn|reorder_and_upcast_attn|pretraining_tp|chunk_size_feed_forward)$/,
  /^(repad_logits_with_grad|sparse_prediction|sparse_pred_ignore_index|decoder_bias|sinusoidal_pos_embds|tie_weights_|n_ctx)$/,
]

const MOST_LAYERS = 4096

/** A parsed `config.json`, which remembers what was asked for: what nobody asked for is refused in the end. */
export class ModelConfig {
  readonly #values: Readonly<Record<string, unknown>>
  readonly #asked = new Set<string>()
  readonly #refused: string[] = []

  /** @param what names it in messages: `config.json`, or an object inside of it */
  constructor(
    values: unknown,
    readonly what = 'config.json',
  ) {
    if (typeof values !== 'object' || values === null || Array.isArray(values))
      throw new FormatError(`${what}: expected a JSON object, got ${describe(values)}`)
    this.#values = values as Record<string, unknown>
  }

  /** The value under the first of these names that there is; null counts as absent. */
  get(...names: readonly string[]): unknown {
    for (const name of names) this.#asked.add(name)
    const found = names.find((name) => this.#values[name] !== undefined && this.#values[name] !== null)
    return found === undefined ? undefined : this.#values[found]
  }

  /**
   * An integer ≥ 1. @param names the first that there is @throws {FormatError} when it is another value, or absent
   * without a fallback
   */
  size(names: string | readonly string[], fallback?: number): number {
    return this.#number(
      [names].flat(),
      'an integer ≥ 1',
      (value) => Number.isSafeInteger(value) && value >= 1,
      fallback,
    )
  }

  /** How many blocks: no list of them is made for a number that no model has. @throws {FormatError} as `size` does */
  layers(...names: readonly string[]): number {
    const isRight = (value: number): boolean => Number.isSafeInteger(value) && value >= 1 && value <= MOST_LAYERS
    return this.#number(names, `an integer from 1 to ${MOST_LAYERS}`, isRight, undefined)
  }

  /** A finite number > 0. @throws {FormatError} as `size` does */
  positive(names: string | readonly string[], fallback?: number): number {
    return this.#number([names].flat(), 'a number > 0', (value) => Number.isFinite(value) && value > 0, fallback)
  }

  flag(name: string, fallback: boolean): boolean {
    const value = this.get(name) ?? fallback
    if (typeof value !== 'boolean') throw this.#expected(name, 'true or false', value)
    return value
  }

  text(names: string | readonly string[], fallback?: string): string {
    const value = this.get(...[names].flat()) ?? fallback
    if (typeof value !== 'string') throw this.#expected([names].flat().join(' or '), 'a string', value)
    return value
  }

  /** An object inside of it, or null. */
  part(name: string): ModelConfig | null {
    const value = this.get(name)
    return value === undefined ? null : new ModelConfig(value, `${this.what}: ${name}`)
  }

  /** Notes an option that is not supported unless it has one of these values, or is absent. The values may be null. */
  only(name: string, ...allowed: readonly (string | number | boolean | null)[]): void {
    const value = this.get(name)
    if (value === undefined || allowed.includes(value as string)) return
    this.refuse(
      `${name} ${JSON.stringify(value)} (supported: ${allowed.map((each) => JSON.stringify(each)).join(', ') || 'none'})`,
    )
  }

  /** Notes something that is not supported. */
  refuse(what: string): void {
    this.#refused.push(what)
  }

  /**
   * Says that all has been asked for.
   *
   * @param ignored names that the caller takes responsibility for
   * @throws {FormatError} that lists every option that is not supported, or not known
   */
  finish(family: string, ignored: readonly string[] = []): void {
    const isNeutral = (name: string): boolean => ignored.includes(name) || NEUTRAL.some((pattern) => pattern.test(name))
    const unknown = Object.keys(this.#values).filter(
      (name) => !this.#asked.has(name) && this.#values[name] !== null && !isNeutral(name),
    )
    const wrong = [
      ...this.#refused.filter((each) => !ignored.includes(each.split(' ')[0] ?? '')),
      ...unknown.map((name) => `${name} ${JSON.stringify(this.#values[name])?.slice(0, 60)} (not known)`),
    ]
    if (wrong.length === 0) return
    const advice = 'name an option in ignoreConfig if it does not change what the model computes'
    throw new FormatError(
      `${this.what}: expected options that Heddle's ${family} supports, got ${wrong.join('; ')}; ${advice}`,
      { details: { unsupported: wrong } },
    )
  }

  #number(
    names: readonly string[],
    expectation: string,
    isRight: (value: number) => boolean,
    fallback: number | undefined,
  ): number {
    const value = this.get(...names) ?? fallback
    if (typeof value !== 'number' || !isRight(value)) throw this.#expected(names.join(' or '), expectation, value)
    return value
  }

  #expected(name: string, expectation: string, value: unknown): FormatError {
    return new FormatError(`${this.what}: expected ${name} to be ${expectation}, got ${describe(value)}`)
  }
}
