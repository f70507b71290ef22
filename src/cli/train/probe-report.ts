import { learningStages, type LearningStages, type ProbeRecord, type StageRow } from '../../analysis/index.ts'
import type { Drawing } from '../../plots/frame.ts'
import { heatmapGrid, type Panel } from '../../plots/heatmap-grid.ts'
import { makesCurve } from '../../plots/line-plot.ts'
import { escapeText } from '../../plots/markup.ts'
import { roleTimeline } from '../../plots/role-timeline.ts'
import { htmlTable, htmlWidePlot, type Section } from '../report/page.ts'
import { kindOf, ROLE_KINDS, roleLabel } from '../report/role-kinds.ts'
import { formatInteger } from '../terminal/format.ts'

/** What the heads did while the model learned. */
export interface ProbeReport {
  /** heatmaps are those of the steps in `stages.evolution` */
  readonly records: readonly ProbeRecord[]
  readonly stages: LearningStages
}

/** Digits of heatmaps in a report's JSON: more than the eye can tell apart. */
const HEATMAP_DIGITS = 4
/** Positions of a sentence that one can look at side by side; of longer ones that are not pooled, the first stay. */
const MOST_POSITIONS = 64
const FIRST_POSITIONS = 32
/** Rows of the evolution strip. */
const MOST_HEADS = 8

export function probeReport(records: readonly ProbeRecord[]): ProbeReport {
  const stages = learningStages(records)
  return { records: records.map((record) => shortRecord(record, stages.evolution.includes(record.step))), stages }
}

/** A record with a heatmap that a page can show, or without one. */
function shortRecord(record: ProbeRecord, isShown: boolean): ProbeRecord {
  const { axes, heads } = record
  const isLong = axes.keys.length > MOST_POSITIONS
  const kept = <T>(list: readonly T[]): readonly T[] => (isLong ? list.slice(0, FIRST_POSITIONS) : list)
  const short = (value: number): number => Number(value.toFixed(HEATMAP_DIGITS))
  const heatmapOf = (heatmap: (typeof heads)[number]['heatmap']): (typeof heads)[number]['heatmap'] =>
    isShown && heatmap !== null ? kept(heatmap).map((row) => kept(row).map(short)) : null
  return {
    ...record,
    axes: { ...axes, queries: kept(axes.queries), keys: kept(axes.keys) },
    heads: heads.map((head) => ({ ...head, heatmap: heatmapOf(head.heatmap) })),
  }
}

/** The plots of a probe by name; fewer than three records make none. */
export function probePlots({ records, stages }: ProbeReport): Readonly<Record<string, Drawing>> {
  const { rows, timeline, steepest } = stages
  if (!makesCurve(rows.map(({ step }) => ({ x: step })))) return {}
  const band = steepest === null ? {} : { band: { ...steepest, label: 'fastest fall of the loss' } }
  const roles: Drawing = (options) =>
    roleTimeline(
      {
        title: 'The role of each head over time',
        places: rows.map(({ step }) => step),
        rows: timeline.map(({ head, roles: held }) => ({
          label: head,
          kinds: held.map((role) => (role === null ? null : kindOf(role))),
        })),
        kinds: ROLE_KINDS,
        ...{ x: 'step', y: 'head', ...band },
      },
      options,
    )
  const panels = evolutionPanels(records, stages)
  if (panels.length === 0) return { roles }
  const grid = { title: 'Where each head attends: head at step', value: { label: 'attention' }, panels }
  return { roles, evolution: (options) => heatmapGrid(grid, options) }
}

/** A row per head, those that ever have a role first, and a panel per chosen step. */
function evolutionPanels(records: readonly ProbeRecord[], { timeline, evolution }: LearningStages): Panel[][] {
  const places = timeline.map((_, at) => at)
  const withRole = places.filter((at) => timeline[at]?.roles.some((role) => role !== null))
  const shown = (withRole.length === 0 ? places : withRole).slice(0, MOST_HEADS)
  const chosen = records.filter(({ step }) => evolution.includes(step))
  const rows = shown.map((at) =>
    chosen.flatMap(({ step, heads }): Panel[] => {
      const { layer, head, heatmap, roles } = heads[at] ?? {}
      if (heatmap === null || heatmap === undefined) return []
      const note = roles?.[0] === undefined ? 'no role' : roleLabel(roles[0].name)
      return [
        {
          label: `${layer}.${head} at ${formatInteger(step)}`,
          note,
          values: heatmap.flat(),
          rows: heatmap.length,
          columns: heatmap[0]?.length ?? 0,
        },
      ]
    }),
  )
  return rows.filter((row) => row.length > 0)
}

/** What a probe found: in words, as plots, and as the table of steps, loss, entropy and roles. */
export function probeSections(report: ProbeReport): Section[] {
  const { stages, records } = report
  const plots = probePlots(report)
  const drawn = (name: string): string => (plots[name] === undefined ? '' : htmlWidePlot(plots[name]))
  const table = htmlTable(
    ['step', 'loss', 'entropy (nats)', 'what the heads do by then'],
    stages.rows.map((row) => [formatInteger(row.step), row.loss.toFixed(3), row.entropy.toFixed(2), rolesOf(row)]),
    { left: 0, wrapped: 3 },
  )
  const sentences = stages.sentences.map((sentence) => `<p>${escapeText(sentence)}</p>`).join('')
  return [
    { heading: 'How its heads came about', html: sentences + drawn('roles') },
    ...(plots['evolution'] === undefined
      ? []
      : [{ heading: 'One sequence, step by step', html: sequenceNote(records) + drawn('evolution') }]),
    { heading: 'Step by step', html: table },
  ]
}

function rolesOf({ roles }: StageRow): string {
  const found = Object.entries(roles).map(([role, heads]) => `${roleLabel(role)}: ${heads.join(', ')}`)
  return found.length === 0 ? 'no head has a role' : found.join('; ')
}

/** Which sequence the heatmaps show, and how to read them. */
function sequenceNote([record]: readonly ProbeRecord[]): string {
  const keys = record?.axes.keys ?? []
  const isText = keys.some(({ label }) => label !== null && /\D/.test(label))
  const text = keys.map(({ label }) => (label === '\n' ? '⏎' : (label ?? ''))).join(isText ? '' : ' ')
  const pooled = keys.some(({ start, end }) => end - start > 1)
  const note = `A held-out sequence: ${pooled ? 'cells stand for several tokens' : 'a row and a column per token'}. A row is the token that attends, a column the one that it attends to.`
  return `<p>${escapeText(note)}</p>${pooled || text === '' ? '' : `<p><code>${escapeText(text)}</code></p>`}`
}
