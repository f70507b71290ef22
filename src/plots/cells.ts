import { coordinate } from './markup.ts'
import { levelOf, LEVELS } from './palette.ts'
import type { Matrix, Pooling } from './pool-matrix.ts'

/** `sequential` orders values from low to high, `diverging` to both sides of the middle of the domain. */
export type ColourScale = 'sequential' | 'diverging'

/** Where cells are drawn. */
export interface CellArea {
  readonly left: number
  readonly top: number
  /** of one cell */
  readonly width: number
  readonly height: number
}

export interface CellColours {
  readonly scale: ColourScale
  readonly domain: readonly [number, number]
}

/** Smallest and largest of the values that exist; with the sequential scale from 0 where none is negative. */
export function domainOf(values: ArrayLike<number>, scale: ColourScale): [number, number] {
  let [low, high] = [Infinity, -Infinity]
  for (let at = 0; at < values.length; at++) {
    const value = values[at] ?? NaN
    if (Number.isNaN(value)) continue
    low = Math.min(low, value)
    high = Math.max(high, value)
  }
  if (low > high) return [0, 1]
  if (scale === 'diverging') {
    const size = Math.max(Math.abs(low), Math.abs(high))
    return [-size, size]
  }
  return [Math.min(0, low), high]
}

/** The text below a scale, in the language of the page. */
export interface ScaleWords {
  /** the values from one end to the other: `0 to 1` */
  readonly range: (low: string, high: string) => string
  /** what a cell says of several: `largest of 2 × 2` */
  readonly pooled: (pooling: Pooling, cells: string) => string
}

export const ENGLISH: ScaleWords = {
  range: (low, high) => `${low} to ${high}`,
  pooled: (pooling, cells) => `${pooling === 'max' ? 'largest' : 'mean'} of ${cells}`,
}

/** The class of a level. */
export function levelClass(level: number, scale: ColourScale): string {
  return `${scale === 'diverging' ? 'w' : 'v'}${level}`
}

/** Cells as one path per colour, runs of equal neighbours in one piece: a matrix of 96 × 96 stays below 60 kB. */
export function drawCells({ values, rows, columns }: Matrix, area: CellArea, { scale, domain }: CellColours): string[] {
  const paths = new Map<string, string[]>()
  const classAt = (row: number, column: number): string => {
    const value = values[row * columns + column] ?? NaN
    return Number.isNaN(value) ? 'none' : levelClass(levelOf(value, domain), scale)
  }
  for (let row = 0; row < rows; row++) {
    let start = 0
    for (let column = 1; column <= columns; column++) {
      const name = classAt(row, start)
      if (column < columns && classAt(row, column) === name) continue
      const [x, y] = [area.left + start * area.width, area.top + row * area.height]
      const piece = `M${fine(x)},${fine(y)}h${fine((column - start) * area.width)}v${fine(area.height)}h${fine((start - column) * area.width)}z`
      const pieces = paths.get(name)
      if (pieces === undefined) paths.set(name, [piece])
      else pieces.push(piece)
      start = column
    }
  }
  return [...paths].map(([name, pieces]) => `<path class="cells ${name}" d="${pieces.join('')}"/>`)
}

/** The scale as a bar with its ends written below it. */
export function drawScale(
  place: { readonly left: number; readonly top: number; readonly width: number },
  colours: CellColours,
  caption: string,
): string[] {
  const step = place.width / LEVELS
  const bars = Array.from(
    { length: LEVELS },
    (_, level) =>
      `<rect class="cells ${levelClass(level, colours.scale)}" x="${coordinate(place.left + level * step)}" y="${place.top}" width="${coordinate(step + 0.2)}" height="8"/>`,
  )
  return [...bars, `<text x="${place.left}" y="${place.top + 22}">${caption}</text>`]
}

/** Two decimals: cells may be two pixels wide. */
function fine(value: number): string {
  return String(Math.round(value * 100) / 100)
}
