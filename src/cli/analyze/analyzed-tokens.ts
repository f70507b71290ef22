import { OptionError } from '../../index.ts'
import type { Tokenizer } from '../../train/index.ts'
import { stringOption } from '../option-values.ts'
import type { OptionValues } from '../command.ts'
import { readTextFile } from '../run/load-text.ts'
import { heldOutBatches } from '../train/tasks/symbol-tasks.ts'
import { UsageError } from '../usage-error.ts'
import type { TrainedModel } from './trained-model.ts'

/** What a model looks at: one sequence, and the text of each position. */
export interface AnalyzedTokens {
  readonly tokens: Int32Array
  readonly labels: readonly string[]
}

/** The tokens of `--text`, `--file` or `--tokens`, or a sequence of the model's own task. @throws {UsageError} */
export async function analyzedTokens(trained: TrainedModel, values: OptionValues): Promise<AnalyzedTokens> {
  const given = ['text', 'file', 'tokens'].filter((name) => values[name] !== undefined)
  if (given.length > 1)
    throw new UsageError(
      `expected one of --text, --file and --tokens, got ${given.map((name) => `--${name}`).join(' and ')}`,
    )
  const [text, file, numbers] = [
    stringOption(values, 'text'),
    stringOption(values, 'file'),
    stringOption(values, 'tokens'),
  ]
  if (numbers !== undefined) return fromNumbers(trained, numbers)
  if (text === undefined && file === undefined) return fromTask(trained)
  const content = file === undefined ? (text ?? '') : (await readTextFile('--file', file)).text
  return fromText(trained, content, file === undefined ? '--text' : '--file')
}

function fromText({ tokenizer, settings }: TrainedModel, content: string, option: string): AnalyzedTokens {
  if (tokenizer === null) {
    const instead = "give --tokens '3 1 4 …', or nothing for a sequence of its task"
    throw new UsageError(
      `${option}: expected a model of text, got one of the task ${settings.task}, whose tokens are numbers: ${instead}`,
    )
  }
  const tokens = encode(tokenizer, settings.task === 'names' ? `\n${content}\n` : content, option)
  if (tokens.length < 2)
    throw new UsageError(
      `${option}: expected two tokens or more, got ${tokens.length}: a single one has nothing to attend to`,
    )
  return { tokens, labels: Array.from(tokens, (token) => tokenizer.decode([token])) }
}

/** @throws {UsageError} that names a character which the model does not know */
function encode(tokenizer: Tokenizer, content: string, option: string): Int32Array {
  try {
    return tokenizer.encode(content)
  } catch (cause) {
    if (!(cause instanceof OptionError)) throw cause
    throw new UsageError(`${option}: ${cause.message}`, { cause })
  }
}

function fromNumbers({ model, tokenizer }: TrainedModel, numbers: string): AnalyzedTokens {
  const tokens = numbers
    .split(/[\s,]+/)
    .filter((each) => each !== '')
    .map((each) => {
      const token = /^\d+$/.test(each) ? Number(each) : NaN
      if (!(token < model.vocabulary))
        throw new UsageError(`--tokens: expected numbers from 0 to ${model.vocabulary - 1}, got '${each}'`)
      return token
    })
  if (tokens.length < 2) throw new UsageError(`--tokens: expected two numbers or more, got ${tokens.length}`)
  return { tokens: Int32Array.from(tokens), labels: tokens.map((token) => tokenizer?.decode([token]) ?? String(token)) }
}

/** A sequence that the model was not trained on. */
function fromTask({ settings }: TrainedModel): AnalyzedTokens {
  const { task } = settings
  if (task === 'names' || task === 'text') throw new UsageError('expected a text: --text "…" or --file FILE')
  const tokens = heldOutBatches({ ...settings, task, batch: 1 })(0).tokens?.data ?? new Int32Array(0)
  return { tokens, labels: Array.from(tokens, String) }
}
