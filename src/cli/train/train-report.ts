import type { Baselines, BestLoss } from '../../train/index.ts'
import type { Machine } from '../machine.ts'
import type { Axis } from '../../plots/axis.ts'
import type { Drawing } from '../../plots/frame.ts'
import { linePlot, makesCurve, type LinePlot, type Series } from '../../plots/line-plot.ts'
import { escapeText } from '../../plots/markup.ts'
import { htmlBlock, htmlChecks, htmlPage, htmlPlots, htmlTable } from '../report/page.ts'
import { probePlots, probeSections, type ProbeReport } from './probe-report.ts'
import { formatDuration, formatInteger, formatNumber } from '../terminal/format.ts'
import type { Finding } from './tasks/prepared-task.ts'
import type { LogEntry } from './train-log.ts'
import type { TrainSettings } from './train-settings.ts'

/** All that `heddle train` did, as its JSON holds it. */
export interface TrainReport {
  readonly format: 'heddle-train/1'
  readonly date: string
  readonly machine: Machine
  readonly settings: TrainSettings
  readonly facts: readonly string[]
  readonly parameters: number
  readonly baselines: Baselines
  readonly best: BestLoss
  readonly findings: readonly Finding[]
  /** said above the samples */
  readonly note: string
  readonly samples: readonly string[]
  /** of all steps, evaluations not included */
  readonly elapsedMs: number
  readonly log: readonly LogEntry[]
  /** what a probe found, where there was one */
  readonly heads?: ProbeReport
}

/** Points of the training loss: means of so many stretches of steps. */
const POINTS = 200
const STEPS: Axis = { label: 'step', scale: 'linear', format: formatInteger }

export function trainPage(report: TrainReport): string {
  const { machine, settings, best, baselines, findings, log } = report
  const lead = `${report.facts.join('. ')}. ${machine.cpu}, ${machine.cores} cores, Node ${machine.versions.node}, heddle ${machine.versions.heddle}, ${report.date.slice(0, 10)}.`
  const tokens = log.reduce((sum, { tokensPerSecond, elapsedMs }) => sum + (tokensPerSecond * elapsedMs) / 1000, 0)
  const figures = [
    { label: 'held-out loss', value: best.loss.toFixed(3) },
    { label: 'bigram baseline', value: baselines.bigram.toFixed(3) },
    { label: 'parameters', value: formatInteger(report.parameters) },
    { label: 'steps', value: formatInteger(log.length) },
    { label: 'time of the steps', value: formatDuration(report.elapsedMs) },
    { label: 'tokens per second', value: formatInteger((tokens / report.elapsedMs) * 1000) },
  ]
  return htmlPage(`heddle train --task ${settings.task}`, lead, figures, [
    { heading: 'What it learned', html: htmlChecks(findings) + htmlPlots(Object.values(curves(report))) },
    {
      heading: 'Beside the simplest models',
      html: htmlTable(['model', 'loss (nats per token)', 'perplexity'], comparison(report)),
    },
    ...(report.samples.length === 0
      ? []
      : [
          {
            heading: 'What it writes',
            html: `<p>${escapeText(report.note)}</p>${htmlBlock(report.samples.join('\n'))}`,
          },
        ]),
    ...(report.heads === undefined ? [] : probeSections(report.heads)),
    {
      heading: 'Settings',
      html: htmlTable(
        ['setting', 'value'],
        Object.entries(settings).map(([name, value]) => [name, String(value)]),
      ),
    },
  ])
}

/** The page's plots by name. */
export function trainPlots(report: TrainReport): Readonly<Record<string, Drawing>> {
  return { ...curves(report), ...(report.heads === undefined ? {} : probePlots(report.heads)) }
}

/** Curves over the steps; none for a run of fewer than three. */
function curves(report: TrainReport): Readonly<Record<string, Drawing>> {
  const { log } = report
  if (!makesCurve(log.map(({ step }) => ({ x: step })))) return {}
  const loss = lossPlot(report)
  const norm: LinePlot = {
    title: 'Norm of the gradients, before clipping',
    x: STEPS,
    y: { label: 'norm', scale: 'linear' },
    series: [{ name: 'gradient norm', draw: 'line', points: meanPoints(log, ({ gradientNorm }) => gradientNorm) }],
  }
  return { loss: (options) => linePlot(loss, options), norm: (options) => linePlot(norm, options) }
}

function lossPlot({ log, baselines, settings }: TrainReport): LinePlot {
  const last = log.at(-1)?.step ?? 1
  const level = (name: string, value: number): Series => ({
    name,
    draw: 'line',
    points: [
      { x: 1, y: value },
      { x: last, y: value },
    ],
  })
  const heldOut = log.flatMap(({ step, heldOutLoss }) =>
    heldOutLoss === undefined ? [] : [{ x: step, y: heldOutLoss }],
  )
  const named =
    settings.task === 'names' || settings.task === 'text'
      ? [level('bigram', baselines.bigram), level('unigram', baselines.unigram)]
      : [level('chance', baselines.chance)]
  return {
    title: 'Loss',
    x: STEPS,
    y: { label: 'cross-entropy', unit: 'nats per token', scale: 'linear' },
    series: [
      { name: 'training', draw: 'line', points: meanPoints(log, ({ loss }) => loss) },
      { name: 'held out', points: heldOut },
      ...named,
    ],
  }
}

/** Rows of the comparison: chance, the counted models, and this one. */
export function comparison({ baselines, best, settings }: TrainReport): string[][] {
  const row = (name: string, loss: number): string[] => [name, loss.toFixed(4), formatNumber(Math.exp(loss))]
  const counted =
    settings.task === 'names' || settings.task === 'text'
      ? [row('unigram', baselines.unigram), row('bigram', baselines.bigram)]
      : []
  return [row('chance', baselines.chance), ...counted, row(`this model, step ${formatInteger(best.step)}`, best.loss)]
}

function meanPoints(log: readonly LogEntry[], value: (entry: LogEntry) => number): { x: number; y: number }[] {
  const stretch = Math.ceil(log.length / POINTS)
  return Array.from({ length: Math.ceil(log.length / stretch) }, (_, index) => {
    const part = log.slice(index * stretch, (index + 1) * stretch)
    return { x: part.at(-1)?.step ?? 0, y: part.reduce((sum, entry) => sum + value(entry), 0) / part.length }
  })
}
