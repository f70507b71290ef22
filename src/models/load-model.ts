import { checkBoolean, checkedSignal, checkFunction, checkInteger, checkNames, expected } from '../core/check.ts'
import { MemoryBudgetError } from '../core/errors.ts'
import { LoadedModel } from './loaded-model.ts'
import { readPlan, type ModelPlan } from './model-plan.ts'
import { modelFiles, type ModelSource } from './model-source.ts'
import { readWeights, type LoadProgress } from './read-weights.ts'
import { readSentenceConfig } from './sentence-config.ts'
import { checkTokenizer, type Tokenizer } from './tokenizer.ts'
import { TransformerModel } from './transformer-model.ts'

/** What `loadModel` takes. */
export interface LoadModelOptions {
  /** An abort rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Called as bytes of weights arrive. */
  readonly onProgress?: (progress: LoadProgress) => void
  /** What the parameters may take at most, in bytes. @default what the engine gives */
  readonly memoryBudgetBytes?: number
  /** Texts become ids through this. @default `tokenizer.json`, through the package @huggingface/tokenizers */
  readonly tokenizer?: Tokenizer
  /** Options of config.json that Heddle does not know, and that do not change what this model computes. */
  readonly ignoreConfig?: readonly string[]
  /** Whether `modules.json` of sentence-transformers is left alone. @default false */
  readonly ignoreSentenceConfig?: boolean
  /** Whether NaN and infinities are allowed. @default false */
  readonly allowNonFinite?: boolean
}

const NAMES: readonly (keyof LoadModelOptions)[] = [
  'signal',
  'onProgress',
  'memoryBudgetBytes',
  'tokenizer',
  'ignoreConfig',
  'ignoreSentenceConfig',
  'allowNonFinite',
]

/**
 * Reads a model of the hub: `config.json`, `model.safetensors` or several with an index, and at the first text
 * `tokenizer.json`. Weights of F32, F16, BF16 and F64 become float32.
 *
 * @param source see `ModelSource`
 * @throws {FormatError} for a config that is not supported (every option in question is named), missing files, and
 *   tensors that do not fit (all are listed)
 * @throws {MemoryBudgetError} when the parameters do not fit `memoryBudgetBytes`, before any weight is read
 * @throws {NumericError} for NaN or infinities in weights
 * @throws the signal's reason, after an abort
 *
 * @example
 * ```js
 * import { loadModel } from 'heddle/models'
 *
 * const model = await loadModel('examples/document-search/tiny-model') // or any folder of a supported model
 * const { embedding, tokens } = await model.embed('The heddle separates the warp.', { normalize: true })
 * console.log(embedding.shape[0] === model.modelDim, tokens > 0) // true true
 * ```
 */
export async function loadModel(source: ModelSource, options: LoadModelOptions = {}): Promise<LoadedModel> {
  checkOptions(options)
  const {
    signal,
    onProgress,
    memoryBudgetBytes = Infinity,
    tokenizer,
    ignoreSentenceConfig = false,
    allowNonFinite = false,
  } = options
  const files = modelFiles(source)
  const { family, plan, config } = await readPlan(files, options)
  if (plan.parameterBytes > memoryBudgetBytes) {
    const smallest = { smallestBudgetBytes: plan.parameterBytes }
    throw new MemoryBudgetError(
      `loadModel: expected parameters of at most ${memoryBudgetBytes} bytes, got a model of ${plan.parameterBytes}`,
      { details: smallest },
    )
  }
  const sentence = ignoreSentenceConfig ? {} : await readSentenceConfig(files, signal)
  const model = new TransformerModel(plan.architecture, { initialise: false })
  const weights = await readWeights(files, model.namedParameters(), { family, signal, onProgress, allowNonFinite })
  return new LoadedModel({
    model,
    plan,
    weights,
    config,
    files,
    tokenizer,
    defaults: { pooling: sentence.pooling ?? family.pooling, normalize: sentence.normalize ?? false },
  })
}

/**
 * What `loadModel` would make of a source: it reads `config.json` and nothing else.
 *
 * @param source see `ModelSource`; of its files only `config.json` is read
 * @throws {FormatError} as `loadModel` does
 *
 * @example
 * ```js
 * import { planModel } from 'heddle/models'
 *
 * const { family, maxLength, parameterBytes } = await planModel('examples/document-search/tiny-model')
 * console.log(family, maxLength > 0, parameterBytes > 0) // jina_bert_v2 true true
 * ```
 */
export async function planModel(source: ModelSource, options: LoadModelOptions = {}): Promise<ModelPlan> {
  checkOptions(options)
  return (await readPlan(modelFiles(source), options)).plan
}

function checkOptions(options: LoadModelOptions): void {
  options = checkNames('loadModel: options', options, NAMES)
  const { signal, onProgress, memoryBudgetBytes, tokenizer, ignoreConfig, ignoreSentenceConfig, allowNonFinite } =
    options
  checkedSignal('loadModel: option signal', signal)
  if (onProgress !== undefined) checkFunction('loadModel: option onProgress', onProgress)
  if (memoryBudgetBytes !== undefined) checkInteger('loadModel: option memoryBudgetBytes', memoryBudgetBytes, 1)
  if (tokenizer !== undefined) checkTokenizer('loadModel: option tokenizer', tokenizer)
  const isList = Array.isArray(ignoreConfig) && ignoreConfig.every((name) => typeof name === 'string')
  if (ignoreConfig !== undefined && !isList)
    throw expected('loadModel: option ignoreConfig', 'a list of names', ignoreConfig)
  if (ignoreSentenceConfig !== undefined) checkBoolean('loadModel: option ignoreSentenceConfig', ignoreSentenceConfig)
  if (allowNonFinite !== undefined) checkBoolean('loadModel: option allowNonFinite', allowNonFinite)
}
