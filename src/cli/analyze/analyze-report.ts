import type { HeadAnalysis, ModelAnalysis, Score } from '../../analysis/index.ts'
import type { Machine } from '../machine.ts'
import type { Drawing } from '../../plots/frame.ts'
import { escapeText } from '../../plots/markup.ts'
import { htmlPage, htmlPlots, htmlTable, htmlWidePlot, type Section } from '../report/page.ts'
import { formatDuration, formatInteger } from '../terminal/format.ts'
import type { RelationEvidence, RoleEvidence } from './analyze-findings.ts'
import { analyzePlots, visible } from './analyze-plots.ts'

/** All that `heddle analyze` found, as its JSON holds it. */
export interface AnalyzeReport {
  readonly format: 'heddle-analyze/1'
  readonly date: string
  readonly machine: Machine
  readonly file: string
  readonly tokens: readonly number[]
  readonly labels: readonly string[]
  readonly analysis: ModelAnalysis
  /** every role with what speaks for it */
  readonly roles: readonly RoleEvidence[]
  /** of `--relations`: the best head for each */
  readonly relations: readonly RelationEvidence[]
}

const SHOWN = ['previous', 'first', 'self', 'duplicate', 'induction'] as const
const MASS_NOTE =
  'A cell is the mean share of attention; in brackets what uniform attention would give, and behind a slash what the same head gives with the tokens shuffled.'

export const HEAD_COLUMNS = ['head', 'role', ...SHOWN, 'entropy', 'distance'] as const

/** A row of the table for every head of every layer. */
export function headRows({ layers }: ModelAnalysis): string[][] {
  return layers.flatMap(({ index, heads }) => heads.map((head) => headRow(index, head)))
}

function headRow(layer: number, { head, roles, scores }: HeadAnalysis): string[] {
  const [entropy, distance] = [scores.relativeEntropy?.value ?? null, scores.distance?.value ?? null]
  const percent = entropy === null ? '–' : `${(100 * entropy).toFixed(0)} %`
  return [
    `${layer}.${head}`,
    roles[0]?.name ?? '–',
    ...SHOWN.map((name) => cell(scores[name])),
    percent,
    distance === null ? '–' : distance.toFixed(1),
  ]
}

/** `0.91 (0.05/0.04)`. */
function cell(score: Score | undefined): string {
  if (score === undefined || score.value === null) return '–'
  const shuffled = score.shuffled === null ? '' : `/${score.shuffled.toFixed(2)}`
  return `${score.value.toFixed(2)} (${score.uniform?.toFixed(2) ?? '–'}${shuffled})`
}

/** What the table's numbers mean. */
export function legend({ layers }: ModelAnalysis): string[] {
  const { factor, share } = layers[0]?.rule ?? { factor: 0, share: 0 }
  return [
    MASS_NOTE,
    `A role needs a share of ${share} or more, and ${factor} times each baseline. Entropy is relative to that of uniform attention.`,
  ]
}

export const RELATION_COLUMNS = [
  'relation',
  'best head',
  'weight',
  'largest',
  'uniform',
  'best offset',
  'pairs',
] as const
export const RELATION_NOTE =
  'Weight is the mean attention of a query on the key that belongs to it, largest the share of pairs whose key has the largest weight of its row. Best offset is the most frequent distance and the share of pairs at it: what a head scores that knows only that distance.'

/** A row of the table for each relation. */
export function relationRows(relations: readonly RelationEvidence[]): string[][] {
  return relations.map(({ relation, head, value, accuracy, uniform, fixedOffset, pairs }) => [
    relation,
    head,
    ...[value, accuracy, uniform].map((share) => share.toFixed(2)),
    `${fixedOffset.value.toFixed(2)} at ${fixedOffset.offset}`,
    String(pairs),
  ])
}

/** What the roles rest on, in words. */
export function roleSentences(roles: readonly RoleEvidence[]): readonly string[] {
  return roles.length === 0
    ? ['No head has a role that its baselines do not explain.']
    : roles.map((role) => role.sentence)
}

export function analyzePage(report: AnalyzeReport): string {
  const { file, date, machine, labels, analysis, roles, relations } = report
  const { node, heddle } = machine.versions
  const lead = `${file}, ${formatInteger(labels.length)} tokens. ${machine.cpu}, Node ${node}, heddle ${heddle}, ${date.slice(0, 10)}.`
  const heads = analysis.layers.flatMap((layer) => layer.heads)
  const figures = [
    { label: 'layers', value: formatInteger(analysis.layers.length) },
    { label: 'heads', value: formatInteger(heads.length) },
    { label: 'heads with a role', value: formatInteger(heads.filter((head) => head.roles.length > 0).length) },
    { label: 'time', value: formatDuration(analysis.elapsedMs) },
  ]
  const plots = analyzePlots(analysis)
  const named = (prefix: string): Drawing[] =>
    Object.entries(plots).flatMap(([name, draw]) => (name.startsWith(prefix) ? [draw] : []))
  return htmlPage(
    'heddle analyze',
    lead,
    figures,
    [
      {
        heading: 'What each head looks at',
        html: paragraphs(roleSentences(roles)) + (plots['heads'] === undefined ? '' : htmlWidePlot(plots['heads'])),
      },
      plotSection('Heads with the clearest roles', named('head-')),
      {
        heading: 'Scores',
        html: htmlTable(HEAD_COLUMNS, headRows(analysis), { left: 2 }) + paragraphs(legend(analysis)),
      },
      relationSection(relations),
      plotSection('Which tokens receive attention', named('received-')),
      plotSection('How much heads differ', named('distance-')),
      rolloutSection(analysis, named('rollout-')),
    ].filter(({ html }) => html !== ''),
  )
}

function relationSection(relations: AnalyzeReport['relations']): Section {
  const table = (): string => htmlTable(RELATION_COLUMNS, relationRows(relations), { left: 2 })
  return { heading: 'Relations', html: relations.length === 0 ? '' : table() + paragraphs([RELATION_NOTE]) }
}

function plotSection(heading: string, drawings: readonly Drawing[]): Section {
  return { heading, html: drawings.length === 0 ? '' : htmlPlots(drawings) }
}

/** The sum of all layers, as a plot and as the largest shares. */
function rolloutSection({ rollout }: ModelAnalysis, drawings: readonly Drawing[]): Section {
  const placed = (place: number, label: string | null): string =>
    `${place}${label === null ? '' : ` (${visible(label)})`}`
  const shares = (rollout ?? []).flatMap(({ row, label, shares: { largest } }) =>
    largest.map(({ key, label: from, share }) => [placed(row, label), placed(key, from), share.toFixed(3)]),
  )
  const table = shares.length === 0 ? '' : htmlTable(['position', 'from', 'share'], shares, { left: 2 })
  return {
    heading: 'Where the last position comes from (attention rollout)',
    html: plotSection('', drawings).html + table,
  }
}

function paragraphs(lines: readonly string[]): string {
  return lines.map((line) => `<p>${escapeText(line)}</p>`).join('')
}
