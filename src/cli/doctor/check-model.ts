import { readFile } from 'node:fs/promises'
import { createRuntime, type Runtime } from '../../index.ts'
import { loadModel, type LoadedModel } from '../../models/index.ts'
import { formatBytes } from '../../plan/explain.ts'
import { EXIT } from '../command.ts'
import { formatInteger } from '../terminal/format.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { UsageError } from '../usage-error.ts'

/** What another implementation made of some tokens: `--expect` is a JSON file `{ "cases": [ … ] }` of these. */
interface ExpectedCase {
  /** with `ids` beside it, the tokenizer must make the same */
  readonly text?: string
  readonly ids?: readonly number[]
  readonly tokenTypes?: readonly number[]
  /** [tokens][E], behind the last norm */
  readonly lastHiddenState?: readonly (readonly number[])[]
  /** [tokens][vocabulary] */
  readonly logits?: readonly (readonly number[])[]
}

interface CaseFinding {
  readonly case: number
  readonly tokens: number
  /** the largest difference, beside the largest expected number */
  readonly hiddenError?: number
  readonly logitError?: number
  /** whether the tokenizer made the expected ids */
  readonly sameIds?: boolean
  readonly passed: boolean
}

interface ModelReport {
  readonly format: 'heddle-doctor-model/1'
  readonly family: string
  readonly maxLength: number
  readonly parameters: number
  readonly parameterBytes: number
  readonly files: readonly string[]
  readonly types: readonly string[]
  readonly unused: readonly string[]
  readonly cases: readonly CaseFinding[]
}

/** Float32 in another order than the other implementation's, over a few dozen layers. */
export const MODEL_TOLERANCE = 1e-3

export interface CheckModelOptions {
  readonly folder: string
  readonly expected: string | undefined
  readonly json: boolean
  readonly signal: AbortSignal
}

/**
 * Loads a model, says what was read, and compares it with another implementation's numbers. @returns the exit status
 */
export async function checkModel(
  terminal: Terminal,
  { folder, expected, json, signal }: CheckModelOptions,
): Promise<number> {
  const cases = expected === undefined ? [] : await readCases(expected)
  const model = await loadModel(folder, { signal })
  const { plan, weights } = model
  terminal.heading(`${folder}: ${plan.family}`)
  terminal.line(
    `  ${formatInteger(plan.parameters)} parameters, ${formatBytes(plan.parameterBytes)} as float32; up to ${formatInteger(plan.maxLength)} tokens`,
  )
  terminal.line(`  ${weights.files.join(', ')}: ${weights.types.join(', ')}`)
  if (weights.unused.length > 0) terminal.line(`  left out: ${weights.unused.join(', ')}`)
  const findings = await compare(model, cases, signal)
  printFindings(terminal, findings)
  const { family, maxLength, parameters, parameterBytes } = plan
  const report: ModelReport = {
    format: 'heddle-doctor-model/1',
    family,
    maxLength,
    parameters,
    parameterBytes,
    ...weights,
    cases: findings,
  }
  if (json) terminal.json(report)
  return findings.every(({ passed }) => passed) ? EXIT.ok : EXIT.failedCheck
}

async function compare(
  model: LoadedModel,
  cases: readonly ExpectedCase[],
  signal: AbortSignal,
): Promise<CaseFinding[]> {
  if (cases.length === 0) return []
  const runtime = await createRuntime()
  try {
    const findings: CaseFinding[] = []
    for (const [index, expected] of cases.entries())
      findings.push(await compareCase({ model, runtime, signal }, index, expected))
    return findings
  } finally {
    await runtime.close()
  }
}

interface Checking {
  readonly model: LoadedModel
  readonly runtime: Runtime
  readonly signal: AbortSignal
}

async function compareCase(
  { model, runtime, signal }: Checking,
  index: number,
  expected: ExpectedCase,
): Promise<CaseFinding> {
  const encoded = expected.text === undefined ? null : (await model.tokenizer()).encode(expected.text, true)
  const ids = expected.ids === undefined ? encoded : Int32Array.from(expected.ids)
  if (ids === null) throw new UsageError(`--expect: expected ids or a text in case ${index}`)
  const tokens = { data: ids, shape: [1, ids.length] }
  const types =
    expected.tokenTypes === undefined
      ? {}
      : { tokenTypes: { data: Int32Array.from(expected.tokenTypes), shape: tokens.shape } }
  const options = { runtime, signal, ...types }
  const hidden =
    expected.lastHiddenState === undefined
      ? undefined
      : error((await model.transformer.forward(tokens, options)).output.data, expected.lastHiddenState)
  const { languageModel } = model
  if (expected.logits !== undefined && languageModel === null)
    throw new UsageError(`--expect: expected no logits in case ${index}, as ${model.plan.family} is an encoder`)
  const logits =
    expected.logits === undefined || languageModel === null
      ? undefined
      : error((await languageModel.forward(tokens, options)).output.data, expected.logits)
  const sameIds = encoded === null || expected.ids === undefined ? undefined : String(encoded) === String(ids)
  const fits = (value: number | undefined): boolean => value === undefined || value <= MODEL_TOLERANCE
  return {
    case: index,
    tokens: ids.length,
    ...(hidden === undefined ? {} : { hiddenError: hidden }),
    ...(logits === undefined ? {} : { logitError: logits }),
    ...(sameIds === undefined ? {} : { sameIds }),
    passed: fits(hidden) && fits(logits) && sameIds !== false,
  }
}

/** Infinity where there are more or fewer numbers. */
function error(actual: Float32Array, rows: readonly (readonly number[])[]): number {
  const expected = rows.flat()
  if (expected.length !== actual.length) return Infinity
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-30)
  return expected.reduce((most, value, at) => Math.max(most, Math.abs((actual[at] ?? NaN) - value)), 0) / largest
}

function printFindings(terminal: Terminal, findings: readonly CaseFinding[]): void {
  if (findings.length > 0) terminal.heading(`Against the expected numbers, up to ${MODEL_TOLERANCE} of the largest`)
  for (const { case: index, tokens, hiddenError, logitError, sameIds, passed } of findings) {
    const parts = [
      ...(hiddenError === undefined ? [] : [`hidden rows within ${hiddenError.toExponential(1)}`]),
      ...(logitError === undefined ? [] : [`logits within ${logitError.toExponential(1)}`]),
      ...(sameIds === undefined ? [] : [sameIds ? 'the same token ids' : 'other token ids']),
    ]
    terminal.line(
      `  ${passed ? terminal.style('green', '✓') : terminal.style('red', '✗ FAILED')} case ${index}, ${formatInteger(tokens)} tokens: ${parts.join(', ') || 'ran'}`,
    )
  }
}

async function readCases(file: string): Promise<readonly ExpectedCase[]> {
  try {
    const { cases } = JSON.parse(await readFile(file, 'utf8')) as { readonly cases?: unknown }
    if (Array.isArray(cases) && cases.length > 0) return cases as readonly ExpectedCase[]
  } catch (cause) {
    throw new UsageError(`--expect: expected a JSON file, got '${file}' (${(cause as Error).message})`, { cause })
  }
  throw new UsageError(`--expect: expected { "cases": [ … ] } in '${file}'`)
}
