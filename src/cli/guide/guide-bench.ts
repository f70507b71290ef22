import { execFile } from 'node:child_process'
import { availableMemory } from 'node:process'
import { promisify } from 'node:util'
import { formatBytes } from '../../plan/explain.ts'
import { EXIT, type CommandContext } from '../command.ts'
import { describeMachine, type Machine } from '../machine.ts'
import { flag, integerOption, positiveOption, stringOption } from '../option-values.ts'
import { formatBytesShort, TOKENS_AXIS } from '../../plots/growth-plots.ts'
import type { Drawing } from '../../plots/frame.ts'
import { linePlot, makesCurve } from '../../plots/line-plot.ts'
import { htmlPage, htmlPlots, htmlTable } from '../report/page.ts'
import { writeReport } from '../report/write-report.ts'
import { formatDuration, formatInteger } from '../terminal/format.ts'
import { formatTable } from '../terminal/table.ts'
import { UsageError } from '../usage-error.ts'
import { GUIDE, measureGuideCase, type GuideMode, type GuideRefusal, type GuideResult } from './guide-case.ts'
import { measurePyTorch } from './pytorch-case.ts'

/** The operand under which a child process measures one size. */
const ONE_CASE = 'guide-case'
const DEFAULT_TOKENS = [128, 256, 512, 1024, 2048] as const
const DEFAULT_CASE_MS = 1500
const DEFAULT_LONGEST_MS = 8000
/** Scores, weights, and one more copy of them. */
const MATRIX_COPIES = 3

interface GuideReport {
  readonly format: 'heddle-guide/1'
  readonly date: string
  readonly machine: Machine
  readonly pytorch: string | null
  readonly results: readonly GuideResult[]
  readonly leftOut: readonly { readonly tokens: number; readonly mode: string; readonly reason: string }[]
}

export function isGuide(positionals: readonly string[]): boolean {
  return positionals[0] === 'guide' || positionals[0] === ONE_CASE
}

/** The guide's scaling benchmark: multi-head attention at E 512, 8 heads, batch 8, over growing sequences. */
export async function benchGuide(context: CommandContext): Promise<number> {
  const { positionals, values, terminal } = context
  const caseMs = (positiveOption(values, 'case-seconds') ?? DEFAULT_CASE_MS / 1000) * 1000
  if (positionals[0] === ONE_CASE) {
    terminal.json(await measureGuideCase(Number(positionals[1]), positionals[2] as GuideMode, caseMs))
    return EXIT.ok
  }
  if (positionals.length > 1) throw new UsageError(`unexpected argument '${positionals[1]}' behind 'guide'`)
  const report = await measureAll(context, caseMs)
  printReport(context, report)
  const plots = guidePlots(report.results)
  const paths = await writeReport(stringOption(values, 'out') ?? 'heddle-report', 'guide', {
    data: report,
    html: guidePage(report, plots),
    plots,
  })
  terminal.line(`Report  ${paths.html}, ${paths.json}`)
  if (flag(values, 'json')) terminal.json(report)
  return EXIT.ok
}

async function measureAll({ values, terminal, signal }: CommandContext, caseMs: number): Promise<GuideReport> {
  const tokens =
    stringOption(values, 'tokens')
      ?.split(',')
      .map((part) => integerOption({ tokens: part.trim() }, 'tokens', 1) ?? 1) ?? DEFAULT_TOKENS
  const python = stringOption(values, 'python') ?? 'python3'
  const longestMs = (positiveOption(values, 'longest-call') ?? DEFAULT_LONGEST_MS / 1000) * 1000
  const results: GuideResult[] = []
  const leftOut: GuideReport['leftOut'][number][] = []
  let pytorch: string | null = null
  for (const length of tokens) {
    for (const mode of ['standard', 'chunked', 'PyTorch'] as const) {
      const reason = whyNot(length, mode, results, longestMs)
      if (reason === undefined) terminal.note(`${formatInteger(length)} tokens, ${mode}`)
      const outcome =
        reason !== undefined
          ? { refused: reason }
          : mode === 'PyTorch'
            ? await measurePyTorch(python, length, caseMs, signal)
            : await inOwnProcess(length, mode, caseMs, signal)
      if ('refused' in outcome) leftOut.push({ tokens: length, mode, reason: outcome.refused })
      else results.push('result' in outcome ? outcome.result : outcome)
      if ('version' in outcome) pytorch = outcome.version
    }
  }
  return {
    format: 'heddle-guide/1',
    date: new Date().toISOString(),
    machine: describeMachine(),
    pytorch,
    results,
    leftOut,
  }
}

/**
 * Why a size is not tried: its matrix does not fit, or it would take too long by what the last size took (time grows
 * with n² at most).
 */
function whyNot(
  tokens: number,
  mode: GuideResult['mode'],
  results: readonly GuideResult[],
  longestMs: number,
): string | undefined {
  if (mode !== 'chunked' && MATRIX_COPIES * GUIDE.batch * GUIDE.heads * tokens ** 2 * 4 > availableMemory() / 2)
    return "its matrix of weights would not fit this machine's memory"
  const last = results.filter((result) => result.mode === mode).at(-1)
  const expectedMs = last === undefined ? 0 : last.medianMs * Math.max(1, tokens / last.tokens) ** 2
  return expectedMs > longestMs ? `a call is expected to take ${formatDuration(expectedMs)}` : undefined
}

async function inOwnProcess(
  tokens: number,
  mode: GuideMode,
  caseMs: number,
  signal: AbortSignal,
): Promise<GuideResult | GuideRefusal> {
  const program = process.argv[1] ?? ''
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [program, 'bench', ONE_CASE, String(tokens), mode, '--case-seconds', String(caseMs / 1000)],
    { signal },
  )
  return JSON.parse(stdout) as GuideResult | GuideRefusal
}

const COLUMNS = [
  { head: 'n' },
  { head: 'mode', align: 'left' as const },
  { head: 'median' },
  { head: 'calls' },
  { head: 'tokens/s' },
  { head: 'resident growth' },
  { head: 'counted peak' },
]

function rowOf({ tokens, mode, medianMs, calls, tokensPerSecond, residentBytes, peakBytes }: GuideResult): string[] {
  const counted = peakBytes === null ? '' : formatBytes(peakBytes)
  return [
    formatInteger(tokens),
    mode,
    formatDuration(medianMs),
    String(calls),
    formatInteger(Math.round(tokensPerSecond)),
    formatBytes(Math.max(0, residentBytes)),
    counted,
  ]
}

function printReport({ terminal }: CommandContext, { machine, pytorch, results, leftOut }: GuideReport): void {
  terminal.line(
    `Multi-head attention, d_model ${GUIDE.modelDim}, ${GUIDE.heads} heads, batch ${GUIDE.batch}; ${machine.cpu}, ${machine.cores} cores, Node ${machine.versions.node}${pytorch === null ? '' : `, PyTorch ${pytorch}`}`,
  )
  terminal.line()
  for (const line of formatTable(COLUMNS, results.map(rowOf))) terminal.line(line)
  for (const { tokens, mode, reason } of leftOut) terminal.line(`left out: ${formatInteger(tokens)} ${mode}: ${reason}`)
  terminal.line()
}

function guidePlots(results: readonly GuideResult[]): Record<string, Drawing> {
  if (!makesCurve(results.map(({ tokens }) => ({ x: tokens })))) return {}
  const plotOf = (
    title: string,
    y: Parameters<typeof linePlot>[0]['y'],
    value: (result: GuideResult) => number,
  ): Drawing => {
    const series = (['chunked', 'standard', 'PyTorch'] as const).map((mode) => ({
      name: mode === 'PyTorch' ? mode : `${mode} mode`,
      points: results
        .filter((result) => result.mode === mode && value(result) > 0)
        .map((result) => ({ x: result.tokens, y: value(result) })),
    }))
    const shown = series.filter(({ points }) => points.length > 0)
    return (options) => linePlot({ title, x: TOKENS_AXIS, y, series: shown }, options)
  }
  return {
    time: plotOf(
      'Time of one call, batch 8',
      { label: 'time', scale: 'log10', format: formatDuration },
      ({ medianMs }) => medianMs,
    ),
    memory: plotOf(
      'Resident growth, batch 8',
      { label: 'resident growth', scale: 'log2', format: formatBytesShort },
      ({ residentBytes }) => residentBytes,
    ),
  }
}

function guidePage({ machine, pytorch, date, results, leftOut }: GuideReport, plots: Record<string, Drawing>): string {
  const lead = `d_model ${GUIDE.modelDim}, ${GUIDE.heads} heads, batch ${GUIDE.batch}, no gradients. ${machine.cpu}, ${machine.cores} cores, Node ${machine.versions.node}, heddle ${machine.versions.heddle}${pytorch === null ? '' : `, PyTorch ${pytorch}`}, ${date.slice(0, 10)}. Each size in a process of its own. Standard mode makes and returns the weights of every head, as the guide's layer does.`
  const drawings = Object.values(plots)
  return htmlPage(
    'Multi-head attention as the sequence grows',
    lead,
    [],
    [
      ...(drawings.length === 0 ? [] : [{ heading: 'Against the length of the sequence', html: htmlPlots(drawings) }]),
      {
        heading: 'Every size',
        html: htmlTable(
          COLUMNS.map(({ head }) => head),
          results.map(rowOf),
          { left: 0 },
        ),
      },
      ...(leftOut.length === 0
        ? []
        : [
            {
              heading: 'Left out',
              html: htmlTable(
                ['n', 'mode', 'reason'],
                leftOut.map(({ tokens, mode, reason }) => [formatInteger(tokens), mode, reason]),
                { left: 2, wrapped: 2 },
              ),
            },
          ]),
    ],
  )
}
