import { createRuntime, type Runtime, type Tensor } from '../../index.ts'
import { EXIT, type Command, type CommandContext } from '../command.ts'
import { describeMachine } from '../machine.ts'
import { flag, integerOption, stringOption, workersOption, WORKERS } from '../option-values.ts'
import { prepareFolder, writeReport } from '../report/write-report.ts'
import { formatInteger } from '../terminal/format.ts'
import { ProgressBar } from '../terminal/progress-bar.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { UsageError } from '../usage-error.ts'
import { measureGrowth, type Growth } from './growth.ts'
import { loadText, type SourceText } from './load-text.ts'
import { entropyByCount, runPage, runPlots, type RunReport } from './run-report.ts'
import { printGrowth, printMain, printPlan } from './run-summary.ts'
import { checkAgainstCount, sampleWords } from './self-check.ts'
import { attendWords, firstTokens, planWords, tensorHash, tokenVectors, type Measurement } from './word-attention.ts'
import { countWords, wordSequence, type WordSequence } from './words.ts'

interface RunOptions {
  readonly text: string | undefined
  /** 'default': as many as run in well under a minute here */
  readonly tokens: number | 'all' | 'default'
  readonly workers: number | 'auto'
  readonly chunkSize: number | undefined
  readonly folder: string
}

/**
 * Numbers of tokens that a run without `--tokens` tries, largest first, and how long the one call may be expected to
 * take.
 */
const DEFAULT_TOKENS = [65_536, 32_768, 16_384] as const
const DEFAULT_CALL_MS = 40_000
/** Without `--tokens`, also for a call of standard mode. */
const DEFAULT_STANDARD_MS = 25_000
const CALIBRATION_TOKENS = 4096

export const runCommand: Command = {
  name: 'run',
  summary: 'attention over a book, checked against a word count, with a report',
  options: {
    tokens: { type: 'string', value: 'N|all', summary: 'words to take (default: 65,536, fewer on a slow machine)' },
    text: { type: 'string', value: 'FILE', summary: 'a text in place of Moby-Dick' },
    workers: WORKERS,
    'chunk-size': { type: 'string', value: 'N', summary: 'query rows per task; never changes the result' },
    out: { type: 'string', value: 'DIR', summary: 'folder of the report (default: heddle-report)' },
    json: { type: 'boolean', summary: 'print the report as JSON' },
  },
  run: runWords,
}

async function runWords(context: CommandContext): Promise<number> {
  const options = readOptions(context)
  const source = await loadText(options.text)
  const all = wordSequence(source.text)
  if (all.ids.length < 2) throw new UsageError(`expected a text of two words or more, got ${all.ids.length}`)
  await prepareFolder(options.folder)
  const runtime = await createRuntime({ workers: options.workers })
  try {
    const count = Math.min(all.ids.length, await tokenCount(runtime, all, options, context.signal))
    const { tokens } = options
    if (typeof tokens === 'number' && tokens > count)
      context.terminal.line(
        `Note: the text has ${formatInteger(count)} words; --tokens asked for ${formatInteger(tokens)}`,
      )
    const words = wordSequence(source.text, count)
    const report = await measureRun(runtime, { source, words, available: all.ids.length }, options, context)
    const paths = await writeReport(options.folder, 'run', {
      data: report,
      html: runPage(report),
      plots: runPlots(report),
    })
    context.terminal.line()
    context.terminal.line(`Report       ${paths.html}, ${paths.json}`)
    context.terminal.line(`Output hash  ${report.outputHash}`)
    if (flag(context.values, 'json')) context.terminal.json(report)
    return report.check.checks.every(({ passed }) => passed) ? EXIT.ok : EXIT.failedCheck
  } finally {
    await runtime.close()
  }
}

function readOptions({ values }: CommandContext): RunOptions {
  return {
    text: stringOption(values, 'text'),
    tokens: values['tokens'] === 'all' ? 'all' : (integerOption(values, 'tokens', 2) ?? 'default'),
    workers: workersOption(values),
    chunkSize: integerOption(values, 'chunk-size', 1),
    folder: stringOption(values, 'out') ?? 'heddle-report',
  }
}

/** By default the most tokens whose call is expected to end in time, from one small call; time grows with n². */
async function tokenCount(
  runtime: Runtime,
  all: WordSequence,
  { tokens }: RunOptions,
  signal: AbortSignal,
): Promise<number> {
  if (tokens === 'all') return all.ids.length
  if (tokens !== 'default') return tokens
  const count = Math.min(CALIBRATION_TOKENS, all.ids.length)
  const sample = tokenVectors(runtime, { ...all, ids: all.ids.subarray(0, count) })
  await attendWords(runtime, sample, { signal })
  const { measurement } = await attendWords(runtime, sample, { signal })
  const fits = DEFAULT_TOKENS.find((candidate) => measurement.elapsedMs * (candidate / count) ** 2 <= DEFAULT_CALL_MS)
  return fits ?? DEFAULT_TOKENS[DEFAULT_TOKENS.length - 1] ?? count
}

interface RunText {
  readonly source: SourceText
  readonly words: WordSequence
  /** words of the whole text */
  readonly available: number
}

async function measureRun(
  runtime: Runtime,
  { source, words, available }: RunText,
  options: RunOptions,
  context: CommandContext,
): Promise<RunReport> {
  const { terminal, signal } = context
  const chunk = options.chunkSize === undefined ? {} : { chunkSize: options.chunkSize }
  const tokens = tokenVectors(runtime, words)
  const samples = sampleWords(words)
  const call = { ...chunk, signal, returnWeights: { rows: samples.map(({ row }) => row) } }
  const plan = planWords(runtime, tokens, call)
  const machine = describeMachine()
  printPlan(terminal, { machine, source, words, available, plan: plan.explain() })
  // A lane's first calls run before the engine has optimised the kernels.
  await attendWords(runtime, firstTokens(tokens, Math.min(words.ids.length, 1024)), { signal })
  const { result, measurement } = await withBar(terminal, 'attention', (bar) =>
    attendWords(runtime, tokens, { ...call, onProgress: (step) => bar.update(step) }),
  )
  const check = checkAgainstCount(words, tokens, samples, result)
  const { lanes, fallbacks } = result.report
  printMain(terminal, measurement, check, fallbacks)
  const entropy = result.statistics?.entropy.data ?? new Float32Array(0)
  const growth = await growthOf(runtime, tokens, measurement, options, context)
  printGrowth(terminal, growth)
  return {
    format: 'heddle-run/1',
    date: new Date().toISOString(),
    machine,
    text: { name: source.name, tokens: words.ids.length, distinctWords: words.vocabulary.length },
    lanes: lanes.map(({ kind, kernels, tasks, busyMs }) => ({ kind, kernels, tasks, busyMs })),
    chunkRows: plan.chunkRows,
    plan: plan.explain(),
    main: measurement,
    check,
    outputHash: tensorHash(result.output),
    entropyByCount: entropyByCount(words.ids, countWords(words), entropy),
    growth,
  }
}

function growthOf(
  runtime: Runtime,
  tokens: Tensor,
  main: Measurement,
  { chunkSize, tokens: asked }: RunOptions,
  { terminal, signal }: CommandContext,
): Promise<Growth> {
  const startMs = performance.now()
  return withBar(terminal, 'both modes', (bar) =>
    measureGrowth(runtime, tokens, {
      main,
      chunkSize,
      longestCallMs: asked === 'default' ? DEFAULT_STANDARD_MS : Infinity,
      signal,
      onStep: ({ done, total, remainingMs }) =>
        bar.update({ done, total, elapsedMs: performance.now() - startMs, remainingMs }),
    }),
  )
}

async function withBar<T>(terminal: Terminal, label: string, work: (bar: ProgressBar) => Promise<T>): Promise<T> {
  const bar = new ProgressBar(terminal.err, label)
  try {
    return await work(bar)
  } finally {
    bar.clear()
  }
}
