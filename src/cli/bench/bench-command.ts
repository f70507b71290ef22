import { caseKey } from './bench-case.ts'
import type { SettingOutcome } from './measure-setting.ts'
import { defaultWorkers, FULL_SUITE, QUICK_SUITE, runSuite, type SuiteOptions } from './suite.ts'
import { EXIT, type Command, type CommandContext } from '../command.ts'
import { benchGuide, isGuide } from '../guide/guide-bench.ts'
import { describeMachine } from '../machine.ts'
import { flag, integerOption, positiveOption, stringOption } from '../option-values.ts'
import { prepareFolder, writeReport } from '../report/write-report.ts'
import { formatDuration } from '../terminal/format.ts'
import { ProgressBar } from '../terminal/progress-bar.ts'
import { formatTable } from '../terminal/table.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { UsageError } from '../usage-error.ts'
import { BENCH_COLUMNS, benchPage, benchPlots, benchRow, medianRatio, type BenchReport } from './bench-report.ts'
import { compareRuns, MIN_CALLS, readBenchReport, type RunComparison } from './compare-runs.ts'

export const benchCommand: Command = {
  name: 'bench',
  summary: 'standard against chunked attention over growing sequences; compares two runs',
  operands: '[guide | compare BEFORE.json AFTER.json]',
  options: {
    quick: { type: 'boolean', summary: 'a few small cases, in seconds' },
    tokens: { type: 'string', value: 'N,N,…', summary: 'lengths of the sequence (default: 128 to 16384, doubling)' },
    heads: { type: 'string', value: 'N', summary: 'heads (default: 8)' },
    'head-size': { type: 'string', value: 'N', summary: 'head size (default: 64)' },
    workers: { type: 'string', value: 'N,N,…', summary: 'sizes of the pool (default: one, and one per processor)' },
    'case-seconds': { type: 'string', value: 'S', summary: 'time for the calls of one case (default: 1.5)' },
    'longest-call': { type: 'string', value: 'S', summary: 'leave out cases whose one call takes longer (default: 8)' },
    out: { type: 'string', value: 'DIR', summary: 'folder of the report (default: heddle-report)' },
    json: { type: 'boolean', summary: 'print the results as JSON' },
    python: { type: 'string', value: 'EXE', summary: 'guide: a Python that may have PyTorch (default: python3)' },
    'fail-above': {
      type: 'string',
      value: 'PERCENT',
      summary: 'compare: status 1 if a case has the verdict slower, by more than this',
    },
  },
  notes: [
    'guide: multi-head attention at d_model 512, 8 heads, batch 8, each size in a process of its own, beside PyTorch where it is found.',
  ],
  run: (context) =>
    context.positionals.length === 0
      ? measure(context)
      : isGuide(context.positionals)
        ? benchGuide(context)
        : compare(context),
}

async function measure({ values, terminal, signal }: CommandContext): Promise<number> {
  if (values['fail-above'] !== undefined) throw new UsageError("--fail-above: expected it with 'compare' only")
  const suite = suiteOptions(values)
  const folder = stringOption(values, 'out') ?? 'heddle-report'
  await prepareFolder(folder)
  const machine = describeMachine()
  terminal.line(
    `heddle ${machine.versions.heddle}, Node ${machine.versions.node}, ${machine.cpu}, ${machine.cores} cores`,
  )
  const bar = new ProgressBar(terminal.err, 'bench')
  const startMs = performance.now()
  const onSetting: SuiteOptions['onSetting'] = ({ done, total }) => {
    const elapsedMs = performance.now() - startMs
    bar.update({ done, total, elapsedMs, remainingMs: done === 0 ? NaN : (elapsedMs / done) * (total - done) })
  }
  const outcome = await runSuite({ ...suite, signal, onSetting }).finally(() => bar.clear())
  const report: BenchReport = {
    format: 'heddle-bench/1',
    date: new Date().toISOString(),
    machine,
    ...outcome,
    medianRatio: medianRatio(outcome.results),
  }
  printResults(terminal, outcome, report.medianRatio)
  const paths = await writeReport(folder, 'bench', {
    data: report,
    html: benchPage(report),
    plots: benchPlots(report.results),
  })
  terminal.line(`Report  ${paths.html}, ${paths.json}`)
  if (flag(values, 'json')) terminal.json(report)
  return EXIT.ok
}

function suiteOptions(values: CommandContext['values']): Omit<SuiteOptions, 'signal' | 'onSetting'> {
  const suite = flag(values, 'quick') ? QUICK_SUITE : FULL_SUITE
  const caseSeconds = positiveOption(values, 'case-seconds')
  const longestCall = positiveOption(values, 'longest-call')
  return {
    tokens: integerList(values, 'tokens', 1) ?? suite.tokens,
    heads: integerOption(values, 'heads', 1) ?? suite.heads,
    headSize: integerOption(values, 'head-size', 1) ?? suite.headSize,
    workers: integerList(values, 'workers', 0) ?? defaultWorkers(),
    caseMs: caseSeconds === undefined ? suite.caseMs : caseSeconds * 1000,
    longestCallMs: longestCall === undefined ? suite.longestCallMs : longestCall * 1000,
  }
}

/** `128,256,512`. @throws {UsageError} */
function integerList(values: CommandContext['values'], name: string, least: number): number[] | undefined {
  return stringOption(values, name)
    ?.split(',')
    .map((part) => integerOption({ [name]: part.trim() }, name, least) ?? least)
}

function printResults(terminal: Terminal, { results, skipped }: SettingOutcome, ratio: number | undefined): void {
  terminal.line()
  for (const line of formatTable(
    BENCH_COLUMNS,
    results.map((result) => benchRow(result, results)),
  ))
    terminal.line(line)
  for (const candidate of skipped) terminal.line(`left out: ${caseKey(candidate)}: ${candidate.reason}`)
  terminal.line()
  if (ratio !== undefined) terminal.line(`standard ÷ chunked, median over n ≥ 512: ${ratio.toFixed(2)} ×`)
}

async function compare({ positionals, values, terminal }: CommandContext): Promise<number> {
  const [action, first, second, ...more] = positionals
  if (action !== 'compare')
    throw new UsageError(`unexpected argument '${action}'; did you mean 'compare BEFORE.json AFTER.json'?`)
  if (first === undefined || second === undefined || more.length > 0)
    throw new UsageError('compare: expected two files: heddle bench compare BEFORE.json AFTER.json')
  const limit = positiveOption(values, 'fail-above')
  const [before, after] = await Promise.all([readBenchReport(first), readBenchReport(second)])
  const comparison = compareRuns(before, after)
  printComparison(terminal, comparison)
  if (before.machine.cpu !== after.machine.cpu)
    terminal.line(`The machines differ: ${before.machine.cpu}, and ${after.machine.cpu}.`)
  if (flag(values, 'json')) terminal.json(comparison)
  const slower = limit === undefined ? [] : slowerByMore(comparison, limit)
  for (const { key, speedup } of slower) terminal.note(`slower by ${((1 / speedup - 1) * 100).toFixed(0)} %: ${key}`)
  return slower.length > 0 ? EXIT.failedCheck : EXIT.ok
}

/** Cases that are slower by more than `percent`; a difference without a verdict may be chance. */
function slowerByMore({ cases }: RunComparison, percent: number): RunComparison['cases'] {
  return cases.filter(({ speedup, verdict }) => verdict === 'slower' && 1 / speedup > 1 + percent / 100)
}

function printComparison(terminal: Terminal, { cases, onlyBefore, onlyAfter, meanSpeedup }: RunComparison): void {
  const rows = cases.map(({ key, before, after, speedup, verdict }) => [
    key,
    formatDuration(before.medianMs),
    formatDuration(after.medianMs),
    `${speedup.toFixed(2)} ×`,
    verdict,
  ])
  const columns = [
    { head: 'case', align: 'left' as const },
    { head: 'before' },
    { head: 'after' },
    { head: 'speed-up' },
    { head: 'verdict', align: 'left' as const },
  ]
  for (const line of formatTable(columns, rows)) terminal.line(line)
  if (cases.some(({ verdict }) => verdict === 'too few calls'))
    terminal.line(
      `too few calls: a verdict needs ${MIN_CALLS} or more in each run; --case-seconds gives each case more time`,
    )
  for (const key of onlyBefore) terminal.line(`only before: ${key}`)
  for (const key of onlyAfter) terminal.line(`only after: ${key}`)
  terminal.line()
  terminal.line(
    meanSpeedup === undefined
      ? 'No case is in both runs.'
      : `Geometric mean of the speed-ups: ${meanSpeedup.toFixed(3)} ×`,
  )
}
