import type { HeadAnalysis, LayerAnalysis, ModelAnalysis } from '../../analysis/index.ts'
import type { Drawing } from '../../plots/frame.ts'
import { heatmap, type Heatmap } from '../../plots/heatmap.ts'
import { heatmapGrid, type HeatmapGrid } from '../../plots/heatmap-grid.ts'
import { placeStrip } from '../../plots/place-strip.ts'
import { roleLabel } from '../report/role-kinds.ts'

/** Heads whose weights are drawn one by one, with their tokens. */
const MOST_CLOSE_UPS = 4
/** Fewer heads have nothing that a matrix of distances would show. */
const FEWEST_COMPARED = 3

/** The plots of an analysis by name. */
export function analyzePlots(analysis: ModelAnalysis): Readonly<Record<string, Drawing>> {
  const heads = headGrid(analysis)
  return {
    ...(heads === null ? {} : { heads }),
    ...Object.fromEntries(closeUps(analysis)),
    ...Object.fromEntries(analysis.layers.flatMap(receivedPlot)),
    ...Object.fromEntries(analysis.layers.flatMap(distancePlot)),
    ...Object.fromEntries(rolloutPlots(analysis)),
  }
}

/** All heads: a row per layer. */
function headGrid({ layers }: ModelAnalysis): Drawing | null {
  const panels = layers.map(({ index, heads }) =>
    heads.flatMap(({ head, heatmap: cells, roles }) =>
      cells === null
        ? []
        : [
            {
              label: `${index}.${head}`,
              note: roles[0] === undefined ? 'no role' : roleLabel(roles[0].name),
              ...matrixOf(cells),
            },
          ],
    ),
  )
  if (panels.flat().length === 0) return null
  const grid: HeatmapGrid = { title: 'Where each head attends: layer.head', value: { label: 'attention' }, panels }
  return (options) => heatmapGrid(grid, options)
}

/** The heads whose roles stand out most, each with its tokens. */
function closeUps({ layers }: ModelAnalysis): [string, Drawing][] {
  const strength = ({ roles: [first] }: HeadAnalysis): number =>
    first === undefined ? 0 : first.value / first.baseline
  const strongest = layers
    .flatMap((layer) => layer.heads.map((head) => ({ layer, head })))
    .filter(({ head }) => head.roles.length > 0 && head.heatmap !== null)
    .sort((a, b) => strength(b.head) - strength(a.head))
    .slice(0, MOST_CLOSE_UPS)
  return strongest.map(({ layer, head }) => {
    const name = `${layer.index}.${head.head}`
    const plot: Heatmap = {
      title: `Head ${name}: ${roleLabel(head.roles[0]?.name ?? '')}`,
      ...matrixOf(head.heatmap ?? []),
      x: side(layer, 'keys'),
      y: side(layer, 'queries'),
      value: { label: 'attention' },
      domain: [0, 1],
    }
    return [`head-${name}`, (options) => heatmap(plot, options)]
  })
}

/** Positions as an axis: with tokens where each has a place of its own, as buckets where not. */
function side({ axes }: LayerAnalysis, which: 'queries' | 'keys'): Heatmap['x'] {
  const buckets = axes[which]
  const label = which === 'queries' ? 'attends' : 'attended to'
  const isPooled = buckets.some(({ start, end }) => end - start > 1)
  const tokens = buckets.map((bucket) => visible(bucket.label ?? ''))
  if (isPooled) return { label, unit: `${buckets.length} stretches of positions` }
  return buckets.every((bucket) => bucket.label !== null) ? { label, tokens } : { label, unit: 'position' }
}

/** A token with its spaces and line breaks to be seen. */
export function visible(token: string): string {
  return token.replaceAll('\n', '⏎').replace(/^ /, '').replaceAll(' ', '␣')
}

/** How much of all attention each token receives from each head. */
function receivedPlot(layer: LayerAnalysis): [string, Drawing][] {
  const rows = layer.heads.flatMap(({ received }) => (received === null ? [] : [[...received.buckets]]))
  if (rows.length === 0) return []
  const plot: Heatmap = {
    title: `Attention that each token receives, layer ${layer.index}`,
    ...matrixOf(rows),
    x: side(layer, 'keys'),
    y: { label: 'head', tokens: layer.heads.map(({ head }) => `${layer.index}.${head}`) },
    value: { label: 'share of a head’s attention' },
  }
  return [[`received-${layer.index}`, (options) => heatmap(plot, options)]]
}

/** How far apart the heads of a layer are. */
function distancePlot({ index, heads, divergence }: LayerAnalysis): [string, Drawing][] {
  if (divergence === null || heads.length < FEWEST_COMPARED) return []
  const tokens = heads.map(({ head }) => `${index}.${head}`)
  const plot: Heatmap = {
    title: `Distance between the heads of layer ${index}`,
    ...matrixOf(divergence.distances),
    x: { label: 'head', tokens },
    y: { label: 'head', tokens },
    value: { label: 'Jensen–Shannon distance' },
    domain: [0, 1],
  }
  return [[`distance-${index}`, (options) => heatmap(plot, options)]]
}

/** Where rows come from through all layers, position by position. */
function rolloutPlots({ rollout, layers, length }: ModelAnalysis): [string, Drawing][] {
  const buckets = layers[0]?.axes.keys ?? []
  return (rollout ?? []).map(({ row, label, shares }) => {
    const weights = new Float64Array(length)
    buckets.forEach(({ start, end }, at) => weights.fill((shares.buckets[at] ?? 0) / (end - start), start, end))
    const named = label === null ? '' : ` (${visible(label)})`
    const plot = { title: `Where position ${row}${named} comes from, through all layers`, weights, from: row }
    return [`rollout-${row}`, (options) => placeStrip({ ...plot, x: 'position', y: 'share' }, options)]
  })
}

function matrixOf(rows: readonly (readonly number[])[]): { values: number[]; rows: number; columns: number } {
  return { values: rows.flat(), rows: rows.length, columns: rows[0]?.length ?? 0 }
}
