import { axisTitle } from './axis.ts'
import { domainOf, drawCells, drawScale, ENGLISH, type CellArea, type ColourScale, type ScaleWords } from './cells.ts'
import { formatInteger, formatNumber } from './format.ts'
import { DEFAULT_WIDTH, fitText, plotFrame, textWidth, type PlotOptions } from './frame.ts'
import { coordinate, escapeText } from './markup.ts'
import { poolMatrix, type Matrix, type PooledMatrix, type Pooling } from './pool-matrix.ts'

/** One side of a heatmap. */
export interface Side {
  readonly label: string
  readonly unit?: string
  /** a text per row or column, such as its token; shown where there is room for each */
  readonly tokens?: readonly string[]
}

export interface Heatmap extends Matrix {
  readonly title: string
  readonly x: Side
  readonly y: Side
  /** what a cell holds */
  readonly value: { readonly label: string; readonly unit?: string }
  /** @default 'sequential' */
  readonly scale?: ColourScale
  /** @default that of the values */
  readonly domain?: readonly [number, number]
  /** What a cell says where it stands for several. @default 'max' */
  readonly pooling?: Pooling
  /** @default English */
  readonly words?: ScaleWords
}

/** More cells side by side than this are pooled: they would be below three pixels. */
const MAX_CELLS = 96
const MAX_CELL_SIZE = 26
/** A token needs a cell of this size to be read. */
const TOKEN_SIZE = 11
const LONGEST_TOKEN = 84
/** Height of a named row of a matrix that is much wider than tall. */
const STRIP_ROW = 16

/** A matrix as a grid of colours, with tokens or positions on both sides and a legend. */
export function heatmap(plot: Heatmap, options: PlotOptions = {}): string {
  const { width = DEFAULT_WIDTH } = options
  if (plot.rows < 1 || plot.columns < 1)
    throw new RangeError(
      `plot '${plot.title}': expected one row and one column or more, got ${plot.rows} × ${plot.columns}`,
    )
  const pooled = poolMatrix(plot, MAX_CELLS, plot.pooling ?? 'max')
  const colours = {
    scale: plot.scale ?? 'sequential',
    domain: plot.domain ?? domainOf(pooled.values, plot.scale ?? 'sequential'),
  }
  const left = sideRoom(plot.y, pooled.rows, pooled.rowStep)
  const cell = Math.min(MAX_CELL_SIZE, (width - left - 20) / pooled.columns)
  const hasColumnTokens = showsTokens(plot.x, pooled.columnStep, cell)
  const top = 44 + (hasColumnTokens ? tokenRoom(plot.x) : 0)
  const area = { left, top, width: cell, height: rowHeight(pooled, cell, plot.y) }
  const bottom = top + pooled.rows * area.height
  // Numbers of columns stand below the cells, tokens above them.
  const axisLine = bottom + (hasColumnTokens ? 18 : 34)
  const body = [
    ...drawCells(pooled, area, colours),
    `<rect class="edge" x="${left}" y="${top}" width="${coordinate(pooled.columns * cell)}" height="${coordinate(bottom - top)}"/>`,
    ...rowLabels(plot.y, pooled, area),
    ...columnLabels(plot.x, pooled, area, hasColumnTokens),
    `<text x="${left}" y="${coordinate(axisLine)}">${escapeText(`↓ ${axisTitle({ ...plot.y, scale: 'linear' })}   → ${axisTitle({ ...plot.x, scale: 'linear' })}`)}</text>`,
    ...drawScale(
      { left, top: Math.round(axisLine + 12), width: Math.min(180, width - left - 20) },
      colours,
      escapeText(caption(plot, pooled, colours.domain)),
    ),
  ]
  return plotFrame(plot.title, { width, height: Math.ceil(axisLine + 46) }, body, options)
}

/** Square cells, unless the matrix is so tall that it would not fit on a screen, or a strip with a name per row. */
function rowHeight({ rows, columns, rowStep }: PooledMatrix, cell: number, { tokens }: Side): number {
  const isStrip = tokens !== undefined && rowStep === 1 && 2 * rows <= columns
  return Math.max(isStrip ? STRIP_ROW : 0, Math.min(cell, Math.max(3, 560 / rows)))
}

function caption(
  { value, pooling = 'max', words = ENGLISH }: Heatmap,
  { rowStep, columnStep }: PooledMatrix,
  [low, high]: readonly [number, number],
): string {
  const unit = value.unit === undefined ? '' : ` ${value.unit}`
  const pooled = rowStep * columnStep === 1 ? '' : `, ${words.pooled(pooling, `${rowStep} × ${columnStep}`)}`
  return `${words.range(formatNumber(low), formatNumber(high))}${unit}: ${value.label}${pooled}`
}

function showsTokens({ tokens }: Side, step: number, size: number): boolean {
  return tokens !== undefined && step === 1 && size >= TOKEN_SIZE
}

function tokenRoom({ tokens = [] }: Side): number {
  return Math.min(LONGEST_TOKEN, Math.max(...tokens.map(textWidth), 0)) + 8
}

function sideRoom(side: Side, rows: number, step: number): number {
  return 12 + (side.tokens !== undefined && step === 1 && rows <= 560 / TOKEN_SIZE ? tokenRoom(side) : 40)
}

function rowLabels(side: Side, { rows, rowStep }: PooledMatrix, area: CellArea): string[] {
  const tokens = side.tokens
  const middle = (row: number): string => coordinate(area.top + (row + 0.5) * area.height + 4)
  const text = (row: number, label: string): string =>
    `<text class="row" x="${area.left - 6}" y="${middle(row)}" text-anchor="end">${escapeText(label)}</text>`
  if (tokens !== undefined && showsTokens(side, rowStep, area.height))
    return Array.from({ length: rows }, (_, row) => text(row, fitText(tokens[row] ?? '', LONGEST_TOKEN)))
  return placesOf(rows, area.height, 24).map((row) => text(row, formatInteger(row * rowStep)))
}

function columnLabels(
  side: Side,
  { columns, columnStep, rows }: PooledMatrix,
  area: CellArea,
  hasTokens: boolean,
): string[] {
  const middle = (column: number): number => area.left + (column + 0.5) * area.width
  if (hasTokens) {
    return Array.from({ length: columns }, (_, column) => {
      const label = escapeText(fitText(side.tokens?.[column] ?? '', LONGEST_TOKEN))
      return `<text class="column" transform="translate(${coordinate(middle(column) + 4)},${area.top - 6}) rotate(-90)">${label}</text>`
    })
  }
  const bottom = coordinate(area.top + rows * area.height + 16)
  return placesOf(columns, area.width, 48).map(
    (column) =>
      `<text class="column" x="${coordinate(middle(column))}" y="${bottom}" text-anchor="middle">${formatInteger(column * columnStep)}</text>`,
  )
}

/** Which of `count` places get a number, `room` pixels apart or more, at steps that read well. */
function placesOf(count: number, size: number, room: number): number[] {
  const step = [1, 2, 4, 5, 8, 10, 16, 20, 32, 40, 64].find((each) => each * size >= room) ?? count
  return Array.from({ length: Math.ceil(count / step) }, (_, index) => index * step)
}
