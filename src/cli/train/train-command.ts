import path from 'node:path'
import { createRuntime } from '../../index.ts'
import { CausalLanguageModel, writeSafetensors } from '../../nn/index.ts'
import type { TrainStep } from '../../train/index.ts'
import { EXIT, type Command, type CommandContext } from '../command.ts'
import { describeMachine } from '../machine.ts'
import { flag, integerOption, stringOption, workersOption, WORKERS } from '../option-values.ts'
import { prepareFolder, writeReport } from '../report/write-report.ts'
import { formatInteger } from '../terminal/format.ts'
import { formatTable } from '../terminal/table.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { UsageError } from '../usage-error.ts'
import { startCopying, wantsCopying } from './copying-start.ts'
import { headProbe } from './head-probe.ts'
import { prepareTask } from './tasks/prepare-task.ts'
import { readSavedRun, runMetadata, trainFiles, writeWhole, type SavedRun } from './train-files.ts'
import { probeReport } from './probe-report.ts'
import { TrainLog } from './train-log.ts'
import { comparison, trainPage, trainPlots, type TrainReport } from './train-report.ts'
import { modelOptions, resumeCommand, trainSession, type Session } from './train-session.ts'
import { readSettings, SETTING_OPTIONS, TASKS } from './train-settings.ts'

const OPTIONS: Command['options'] = {
  task: { type: 'string', value: TASKS.join('|'), summary: 'what to learn (default: names)' },
  file: { type: 'string', value: 'FILE', summary: 'text: a text of your own, in UTF-8 (default: Moby-Dick)' },
  tokens: { type: 'string', value: 'characters|words', summary: 'text: what a token is (default: characters)' },
  steps: { type: 'string', value: 'N', summary: 'updates' },
  batch: { type: 'string', value: 'N', summary: 'sequences per step' },
  length: { type: 'string', value: 'N', summary: 'tokens per sequence' },
  symbols: { type: 'string', value: 'N', summary: 'copy, reverse, induction: different symbols' },
  repeats: {
    type: 'string',
    value: 'P',
    summary: 'text: share of rows that are random tokens, repeated, to measure induction (default: 0)',
  },
  layers: { type: 'string', value: 'N', summary: 'blocks of the model' },
  heads: { type: 'string', value: 'N', summary: 'heads per block' },
  'model-size': { type: 'string', value: 'N', summary: 'width of the model' },
  dropout: { type: 'string', value: 'P', summary: 'share of values that are dropped' },
  'learning-rate': { type: 'string', value: 'X', summary: 'at its largest; it rises first, then falls along a cosine' },
  'weight-decay': { type: 'string', value: 'X', summary: 'of weight matrices' },
  'evaluate-every': {
    type: 'string',
    value: 'N',
    summary: 'steps between two measurements of the held-out loss, each with a checkpoint',
  },
  seed: { type: 'string', value: 'N', summary: 'of weights, data and dropout (default: 0)' },
  probe: {
    type: 'string',
    value: 'N',
    summary: 'measure every N steps what each head looks at, and report when heads take on roles',
  },
  resume: {
    type: 'string',
    value: 'FILE',
    summary: 'a checkpoint to go on from, with the same bits as if never interrupted',
  },
  out: {
    type: 'string',
    value: 'DIR',
    summary: 'folder of checkpoint, model, log and report (default: heddle-report)',
  },
  workers: WORKERS,
  json: { type: 'boolean', summary: 'print the report as JSON' },
}

const NOTES = [
  'Examples:',
  '  heddle train                                 a model of first names, in about a minute',
  '  heddle train --task induction                find what followed this symbol before',
  '  heddle train --file book.txt --tokens words  a model of your own text',
  '  heddle train --resume heddle-report/train-names-checkpoint.safetensors',
  '',
  'Every task has settings of its own; each option above changes one of them. Ctrl-C saves a checkpoint and says how to go on.',
  'Status 1 when the trained model does not do what its task asks for.',
]

export const trainCommand: Command = {
  name: 'train',
  summary: 'trains a small transformer and measures what it learned',
  options: OPTIONS,
  notes: NOTES,
  run,
}

async function run(context: CommandContext): Promise<number> {
  const { values, terminal, signal } = context
  const saved = await savedRun(context)
  const probeEvery = integerOption(values, 'probe', 1)
  const settings = saved?.settings ?? readSettings(values)
  const folder =
    stringOption(values, 'out') ??
    (saved === undefined ? 'heddle-report' : path.dirname(stringOption(values, 'resume') ?? ''))
  await prepareFolder(folder)
  const task = await prepareTask(settings)
  if (saved !== undefined && saved.dataHash !== task.dataHash)
    throw new UsageError('--resume: expected the data that the run began with; it has changed since')
  const files = trainFiles(folder, settings.task)
  const runtime = await createRuntime({ workers: workersOption(values) })
  try {
    const model = new CausalLanguageModel(modelOptions(settings, task.vocabulary))
    if (wantsCopying(settings)) startCopying(model)
    const log = await TrainLog.open(files.log, saved?.step ?? 0)
    const session: Session = {
      ...{ settings, task, model, runtime, files, log, terminal, signal },
      ...(saved === undefined ? {} : { resume: saved.bytes }),
      ...(probeEvery === undefined ? {} : { probe: headProbe(probeEvery, task, runtime, signal) }),
    }
    printStart(session, saved)
    const last = await trainSession(session)
    return await concluded(session, () => conclude(session, last, context, folder))
  } finally {
    await runtime.close()
  }
}

/** @throws {UsageError} when `--resume` comes with options that the checkpoint decides */
async function savedRun({ values }: CommandContext): Promise<SavedRun | undefined> {
  const file = stringOption(values, 'resume')
  if (file === undefined) return undefined
  const beside = SETTING_OPTIONS.filter((name) => values[name] !== undefined)
  if (beside.length > 0)
    throw new UsageError(
      `--resume: the checkpoint decides about ${beside.map((name) => `--${name}`).join(', ')}; leave ${beside.length === 1 ? 'it' : 'them'} out`,
    )
  return readSavedRun(file)
}

function printStart({ settings, task, model, terminal }: Session, saved: SavedRun | undefined): void {
  for (const fact of task.facts) terminal.line(fact)
  const { layers, heads, modelDim, batch, length, steps } = settings
  terminal.line(
    `${formatInteger(model.numParameters())} parameters: ${layers} layers, ${heads} heads, width ${modelDim}; ${formatInteger(steps)} steps of ${batch} × ${formatInteger(length)} tokens`,
  )
  if (saved !== undefined) terminal.line(`Goes on after step ${formatInteger(saved.step)}`)
  terminal.line()
}

/** Runs what comes behind the last step, whose checkpoint is saved. */
async function concluded({ signal, terminal, files }: Session, work: () => Promise<number>): Promise<number> {
  try {
    return await work()
  } catch (error) {
    if (signal.aborted) terminal.note(`All steps are made and saved. For the report: ${resumeCommand(files)}`)
    throw error
  }
}

async function conclude(
  session: Session,
  last: TrainStep | undefined,
  { values }: CommandContext,
  folder: string,
): Promise<number> {
  const { task, model, runtime, signal, settings, files, terminal, log } = session
  const best = last?.evaluation?.best ?? bestOf(session)
  const outcome = await task.finish({ model, runtime, signal, seed: settings.seed, loss: best.loss })
  const report: TrainReport = {
    format: 'heddle-train/1',
    date: new Date().toISOString(),
    machine: describeMachine(),
    ...{ settings, facts: task.facts, parameters: model.numParameters(), baselines: task.baselines, best, ...outcome },
    elapsedMs: log.entries.reduce((sum, { elapsedMs }) => sum + elapsedMs, 0),
    log: log.entries,
    ...(session.probe === undefined || session.probe.records.length === 0
      ? {}
      : { heads: probeReport(session.probe.records) }),
  }
  await writeWhole(
    files.model,
    writeSafetensors(
      model.stateDict(),
      runMetadata(settings, task.dataHash, modelOptions(settings, task.vocabulary), task.pieces),
    ),
  )
  const paths = await writeReport(folder, files.name, {
    data: report,
    html: trainPage(report),
    plots: trainPlots(report),
  })
  printReport(terminal, report)
  terminal.line(`Model        ${files.model}`)
  terminal.line(`Report       ${paths.html}, ${paths.json}`)
  if (flag(values, 'json')) terminal.json(report)
  return outcome.findings.every(({ passed }) => passed) ? EXIT.ok : EXIT.failedCheck
}

/** The smallest held-out loss of the log, where the last step was not evaluated. */
function bestOf({ log }: Session): TrainReport['best'] {
  return log.entries.reduce(
    (best, { step, heldOutLoss = Infinity }) => (heldOutLoss < best.loss ? { loss: heldOutLoss, step } : best),
    { loss: Infinity, step: 0 },
  )
}

function printReport(terminal: Terminal, report: TrainReport): void {
  terminal.line()
  const columns = [{ head: 'model', align: 'left' as const }, { head: 'nats per token' }, { head: 'perplexity' }]
  for (const line of formatTable(columns, comparison(report))) terminal.line(line)
  terminal.line()
  for (const line of report.heads?.stages.sentences ?? []) terminal.line(line)
  if (report.heads !== undefined) terminal.line()
  if (report.samples.length > 0) {
    terminal.line(report.note)
    terminal.line(report.samples.join(' '))
    terminal.line()
  }
  for (const { name, passed, detail } of report.findings)
    terminal.line(`${passed ? terminal.style('green', '✓') : terminal.style('red', '✗')} ${name}: ${detail}`)
  terminal.line()
}
