import type { HeadAnalysis, ModelAnalysis, Score } from '../../analysis/index.ts'
import type { Machine } from '../machine.ts'
import { htmlPage, htmlTable } from '../report/page.ts'
import { formatDuration, formatInteger } from '../terminal/format.ts'

/** All that `heddle analyze` found, as its JSON holds it. */
export interface AnalyzeReport {
  readonly format: 'heddle-analyze/1'
  readonly date: string
  readonly machine: Machine
  readonly file: string
  readonly tokens: readonly number[]
  readonly labels: readonly string[]
  readonly analysis: ModelAnalysis
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

export function analyzePage({ file, date, machine, labels, analysis }: AnalyzeReport): string {
  const { node, heddle } = machine.versions
  const lead = `${file}, ${formatInteger(labels.length)} tokens. ${machine.cpu}, Node ${node}, heddle ${heddle}, ${date.slice(0, 10)}.`
  const heads = analysis.layers.reduce((sum, layer) => sum + layer.heads.length, 0)
  const figures = [
    { label: 'layers', value: formatInteger(analysis.layers.length) },
    { label: 'heads', value: formatInteger(heads) },
    {
      label: 'heads with a role',
      value: formatInteger(
        analysis.layers.flatMap((layer) => layer.heads).filter(({ roles }) => roles.length > 0).length,
      ),
    },
    { label: 'time', value: formatDuration(analysis.elapsedMs) },
  ]
  const shares = (analysis.rollout ?? []).flatMap(({ row, label, shares: { largest } }) =>
    largest.map(({ key, label: from, share }) => [
      `${row}${label === null ? '' : ` ${JSON.stringify(label)}`}`,
      `${key}${from === null ? '' : ` ${JSON.stringify(from)}`}`,
      share.toFixed(3),
    ]),
  )
  return htmlPage('heddle analyze', lead, figures, [
    {
      heading: 'What each head looks at',
      html: `${htmlTable(HEAD_COLUMNS, headRows(analysis), { left: 2 })}${legend(analysis)
        .map((line) => `<p>${line}</p>`)
        .join('')}`,
    },
    ...(shares.length === 0
      ? []
      : [
          {
            heading: 'Where the last position comes from (attention rollout)',
            html: htmlTable(['position', 'from', 'share'], shares, { left: 2 }),
          },
        ]),
  ])
}
