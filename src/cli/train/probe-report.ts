import { learningStages, roleTitle, type LearningStages, type ProbeRecord } from '../../analysis/index.ts'
import { escapeText } from '../../plots/markup.ts'
import { htmlTable, type Section } from '../report/page.ts'
import { formatInteger } from '../terminal/format.ts'

/** What the heads did while the model learned. */
export interface ProbeReport {
  readonly records: readonly ProbeRecord[]
  readonly stages: LearningStages
}

/** Digits of heatmaps in a report's JSON: more than the eye can tell apart. */
const HEATMAP_DIGITS = 4

export function probeReport(records: readonly ProbeRecord[]): ProbeReport {
  return { records: records.map(withShortHeatmaps), stages: learningStages(records) }
}

function withShortHeatmaps(record: ProbeRecord): ProbeRecord {
  const short = (value: number): number => Number(value.toFixed(HEATMAP_DIGITS))
  return {
    ...record,
    heads: record.heads.map((head) => ({ ...head, heatmap: head.heatmap?.map((row) => row.map(short)) ?? null })),
  }
}

/** The table of steps, loss, entropy and roles, below what it says in words. */
export function probeSections({ stages: { rows, sentences } }: ProbeReport): Section[] {
  const roles = (row: (typeof rows)[number]): string =>
    Object.entries(row.roles)
      .map(([role, heads]) => `${roleTitle(role)}: ${heads.join(', ')}`)
      .join('; ')
  const table = htmlTable(
    ['step', 'loss', 'entropy (nats)', 'heads with a role'],
    rows.map((row) => [formatInteger(row.step), row.loss.toFixed(3), row.entropy.toFixed(2), roles(row) || 'none']),
    0,
  )
  return [
    {
      heading: 'How its heads came about',
      html: `${sentences.map((sentence) => `<p>${escapeText(sentence)}</p>`).join('')}${table}`,
    },
  ]
}
