import { domainOf, drawCells, drawScale, ENGLISH, type ScaleWords } from './cells.ts'
import { formatNumber } from './format.ts'
import { DEFAULT_WIDTH, fitText, plotFrame, type PlotOptions } from './frame.ts'
import { coordinate, escapeText } from './markup.ts'
import { poolMatrix, type Matrix, type PooledMatrix } from './pool-matrix.ts'

/** One small heatmap among others. */
export interface Panel extends Matrix {
  readonly label: string
  /** a second line, such as the role of a head */
  readonly note?: string
}

export interface HeatmapGrid {
  readonly title: string
  /** by rows: for heads, a row per layer; for an evolution, a row per head and a panel per step */
  readonly panels: readonly (readonly Panel[])[]
  /** what a cell holds */
  readonly value: { readonly label: string }
  /** @default that of all panels together, so that they can be compared */
  readonly domain?: readonly [number, number]
  /** @default English */
  readonly words?: Pick<ScaleWords, 'range'>
}

const MAX_PANEL = 150
const MIN_PANEL = 80
const GAP = 12
const LABEL_ROOM = 36
/** More cells side by side than this are pooled. */
const MAX_CELLS = 40

/**
 * Heatmaps side by side on one scale: the heads of a model by layer, or one sentence at several steps of training. Rows
 * that do not fit the width go on in the next line, with about as many panels in each.
 */
export function heatmapGrid(grid: HeatmapGrid, options: PlotOptions = {}): string {
  const { width = DEFAULT_WIDTH } = options
  const most = Math.max(...grid.panels.map((row) => row.length), 0)
  if (most === 0) throw new RangeError(`plot '${grid.title}': expected one panel or more, got none`)
  const fit = Math.ceil(most / Math.ceil(most / panelsThatFit(width)))
  const size = Math.min(MAX_PANEL, (width - 32 - (fit - 1) * GAP) / fit)
  const lines = grid.panels.flatMap((row) =>
    Array.from({ length: Math.ceil(row.length / fit) }, (_, line) => row.slice(line * fit, (line + 1) * fit)),
  )
  const pooled = new Map(grid.panels.flat().map((panel) => [panel, poolMatrix(panel, MAX_CELLS, 'max')]))
  const domain = grid.domain ?? jointDomain([...pooled.values()])
  const body = lines.flatMap((line, lineIndex) =>
    line.flatMap((panel, index) =>
      drawPanel(
        panel,
        pooled.get(panel),
        { left: 16 + index * (size + GAP), top: 40 + lineIndex * (size + LABEL_ROOM + 10), size },
        domain,
      ),
    ),
  )
  const bottom = 40 + lines.length * (size + LABEL_ROOM + 10)
  const scale = drawScale(
    { left: 16, top: Math.round(bottom), width: 180 },
    { scale: 'sequential', domain },
    escapeText(
      `${(grid.words ?? ENGLISH).range(formatNumber(domain[0]), formatNumber(domain[1]))}: ${grid.value.label}`,
    ),
  )
  return plotFrame(grid.title, { width, height: Math.ceil(bottom + 34) }, [...body, ...scale], options)
}

/** How many panels stand side by side in a drawing of this width. */
export function panelsThatFit(width: number): number {
  return Math.max(1, Math.floor((width - 32 + GAP) / (MIN_PANEL + GAP)))
}

interface Place {
  readonly left: number
  readonly top: number
  readonly size: number
}

function drawPanel(
  panel: Panel,
  pooled: PooledMatrix | undefined,
  { left, top, size }: Place,
  domain: readonly [number, number],
): string[] {
  if (pooled === undefined) return []
  const area = { left, top: top + LABEL_ROOM, width: size / pooled.columns, height: size / pooled.rows }
  const note =
    panel.note === undefined
      ? []
      : [`<text x="${coordinate(left)}" y="${coordinate(top + 29)}">${escapeText(fitText(panel.note, size))}</text>`]
  return [
    `<g><title>${escapeText([panel.label, panel.note ?? ''].filter(Boolean).join(': '))}</title>`,
    `<text class="strong" x="${coordinate(left)}" y="${coordinate(top + 14)}">${escapeText(fitText(panel.label, size))}</text>`,
    ...note,
    ...drawCells(pooled, area, { scale: 'sequential', domain }),
    `<rect class="edge" x="${coordinate(left)}" y="${coordinate(area.top)}" width="${coordinate(size)}" height="${coordinate(size)}"/></g>`,
  ]
}

function jointDomain(matrices: readonly PooledMatrix[]): [number, number] {
  const domains = matrices.map(({ values }) => domainOf(values, 'sequential'))
  return [Math.min(...domains.map(([low]) => low)), Math.max(...domains.map(([, high]) => high))]
}
