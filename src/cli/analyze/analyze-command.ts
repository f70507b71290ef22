import path from 'node:path'
import { analyzeModel, type AnalysisOptions, type AnalysisProgress } from '../../analysis/index.ts'
import { createRuntime, HeddleError } from '../../index.ts'
import { EXIT, type Command, type CommandContext } from '../command.ts'
import { describeMachine } from '../machine.ts'
import { flag, stringOption, workersOption, WORKERS } from '../option-values.ts'
import { prepareFolder, writeReport } from '../report/write-report.ts'
import { formatDuration, formatInteger } from '../terminal/format.ts'
import { ProgressBar } from '../terminal/progress-bar.ts'
import { formatTable } from '../terminal/table.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { UsageError } from '../usage-error.ts'
import { relationEvidence, roleEvidence } from './analyze-findings.ts'
import { analyzePlots } from './analyze-plots.ts'
import {
  analyzePage,
  headRows,
  HEAD_COLUMNS,
  legend,
  RELATION_COLUMNS,
  RELATION_NOTE,
  relationRows,
  roleSentences,
  type AnalyzeReport,
} from './analyze-report.ts'
import { analyzedTokens, type AnalyzedTokens } from './analyzed-tokens.ts'
import { givenRelations } from './given-relations.ts'
import { readTrainedModel, type TrainedModel } from './trained-model.ts'

const OPTIONS: Command['options'] = {
  text: { type: 'string', value: 'TEXT', summary: 'what the model looks at' },
  file: { type: 'string', value: 'FILE', summary: 'the same from a file, in UTF-8' },
  tokens: { type: 'string', value: 'NUMBERS', summary: 'the same as token numbers' },
  relations: {
    type: 'string',
    value: 'FILE',
    summary: 'JSON with pairs of positions that belong together: { "verb to its subject": [[3, 1], …] }',
  },
  out: { type: 'string', value: 'DIR', summary: 'folder to write the report to, as JSON and as a page' },
  workers: WORKERS,
  json: { type: 'boolean', summary: 'print the report as JSON' },
}

const NOTES = [
  'Examples:',
  '  heddle analyze heddle-report/train-names.safetensors --text anna',
  '  heddle analyze heddle-report/train-induction.safetensors        a sequence of its own task',
  '',
  'MODEL is a model that heddle train wrote. Heads and layers count from 0: 1.3 is head 3 of the second layer.',
]

export const analyzeCommand: Command = {
  name: 'analyze',
  summary: 'measures what each head of a trained model looks at',
  operands: 'MODEL',
  options: OPTIONS,
  notes: NOTES,
  run,
}

async function run(context: CommandContext): Promise<number> {
  const { values, positionals, terminal } = context
  const [file, extra] = positionals
  if (file === undefined) throw new UsageError('expected a model: heddle analyze MODEL')
  if (extra !== undefined) throw new UsageError(`unexpected argument '${extra}'`)
  const folder = stringOption(values, 'out')
  const trained = await readTrainedModel(file)
  const input = await analyzedTokens(trained, values)
  const relations = await givenRelations(values)
  if (folder !== undefined) await prepareFolder(folder)
  const analysis = await analyze(trained, { ...input, ...relations }, context)
  const report: AnalyzeReport = {
    format: 'heddle-analyze/1',
    date: new Date().toISOString(),
    machine: describeMachine(),
    file: path.basename(file),
    ...{ tokens: [...input.tokens], labels: input.labels },
    ...{ analysis, roles: roleEvidence(analysis), relations: relationEvidence(analysis) },
  }
  printReport(terminal, report)
  if (folder !== undefined) {
    const paths = await writeReport(folder, 'analyze', {
      data: report,
      html: analyzePage(report),
      plots: analyzePlots(analysis),
    })
    terminal.line(`Report       ${paths.html}, ${paths.json}`)
  }
  if (flag(values, 'json')) terminal.json(report)
  return EXIT.ok
}

async function analyze(
  { model }: TrainedModel,
  { tokens, ...options }: AnalyzedTokens & Pick<AnalysisOptions, 'relations'>,
  { values, terminal, signal }: CommandContext,
): Promise<AnalyzeReport['analysis']> {
  const runtime = await createRuntime({ workers: workersOption(values) })
  const bar = new ProgressBar(terminal.err, '')
  try {
    const onProgress = ({ done, total, elapsedMs }: AnalysisProgress): void => {
      const remainingMs = done === 0 ? NaN : (elapsedMs / done) * (total - done)
      bar.update({ done, total, elapsedMs, remainingMs }, 'analyzing')
    }
    const input = { data: tokens, shape: [tokens.length] }
    return await analyzeModel(model, input, { ...options, runtime, signal, onProgress })
  } catch (cause) {
    if (cause instanceof HeddleError && (cause.code === 'OptionError' || cause.code === 'ShapeError'))
      throw new UsageError(cause.message, { cause })
    throw cause
  } finally {
    bar.clear()
    await runtime.close()
  }
}

function printReport(terminal: Terminal, { analysis, labels, roles, relations }: AnalyzeReport): void {
  const { layers, elapsedMs } = analysis
  terminal.line(
    `${formatInteger(labels.length)} tokens, ${layers.length} layers of ${layers[0]?.heads.length ?? 0} heads, in ${formatDuration(elapsedMs)}`,
  )
  printTable(terminal, HEAD_COLUMNS, headRows(analysis))
  for (const line of [...legend(analysis), '', ...roleSentences(roles)]) terminal.line(line)
  if (relations.length > 0) {
    printTable(terminal, RELATION_COLUMNS, relationRows(relations))
    terminal.line(RELATION_NOTE)
  }
  terminal.line()
}

/** A table whose first two columns are text, between empty lines. */
function printTable(terminal: Terminal, heads: readonly string[], rows: readonly (readonly string[])[]): void {
  const columns = heads.map((head, index) => ({ head, align: index < 2 ? ('left' as const) : ('right' as const) }))
  terminal.line()
  for (const line of formatTable(columns, rows)) terminal.line(line)
  terminal.line()
}
