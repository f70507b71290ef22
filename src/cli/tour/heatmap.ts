import { escapeText } from '../../plots/markup.ts'

/** Values from −1 to 1 as a grid of colours. */
export interface Heatmap {
  readonly title: string
  readonly rowsTitle: string
  readonly columnsTitle: string
  /** [rows][columns] */
  readonly values: readonly (readonly number[])[]
}

const CELL = { width: 36, height: 24 }
const FRAME = { left: 64, right: 84, top: 56, bottom: 52 }
const STYLE = `
.heatmap { --surface: #fcfcfb; --ink: #0b0b0b; --soft: #52514e; font: 12px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) { .heatmap { --surface: #1a1a19; --ink: #ffffff; --soft: #c3c2b7; } }
.heatmap .surface { fill: var(--surface); } .heatmap text { fill: var(--soft); } .heatmap .title { fill: var(--ink); font-size: 15px; font-weight: 600; }
`.trim()

/**
 * A heatmap as one `<svg>` that carries its own style: title, both axes, a scale of colours, and each value in a tip.
 */
export function heatmap({ title, rowsTitle, columnsTitle, values }: Heatmap): string {
  const columns = values[0]?.length ?? 0
  const width = FRAME.left + columns * CELL.width + FRAME.right
  const height = FRAME.top + values.length * CELL.height + FRAME.bottom
  const gridBottom = height - FRAME.bottom
  const cells = values.flatMap((row, y) =>
    row.map((value, x) => {
      const place = `x="${FRAME.left + x * CELL.width}" y="${FRAME.top + y * CELL.height}" width="${CELL.width}" height="${CELL.height}"`
      return `<rect ${place} fill="${colour(value)}"><title>${escapeText(`${rowsTitle} ${y}, ${columnsTitle} ${x}: ${value.toFixed(3)}`)}</title></rect>`
    }),
  )
  return [
    `<svg class="heatmap" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeText(title)}">`,
    `<style>${STYLE}</style>`,
    `<rect class="surface" width="${width}" height="${height}"/>`,
    `<text class="title" x="16" y="28">${escapeText(title)}</text>`,
    ...cells,
    ...values.map(
      (_, y) =>
        `<text x="${FRAME.left - 8}" y="${FRAME.top + (y + 0.5) * CELL.height + 4}" text-anchor="end">${y}</text>`,
    ),
    ...Array.from(
      { length: columns },
      (_, x) =>
        `<text x="${FRAME.left + (x + 0.5) * CELL.width}" y="${gridBottom + 16}" text-anchor="middle">${x}</text>`,
    ),
    `<text x="${FRAME.left + (columns * CELL.width) / 2}" y="${gridBottom + 38}" text-anchor="middle">${escapeText(columnsTitle)}</text>`,
    `<text transform="translate(20 ${(FRAME.top + gridBottom) / 2}) rotate(-90)" text-anchor="middle">${escapeText(rowsTitle)}</text>`,
    ...scale(width - FRAME.right + 20, gridBottom),
    '</svg>',
  ].join('\n')
}

/** From 1 at the top to −1. */
function scale(left: number, bottom: number): string[] {
  const steps = 40
  const step = (bottom - FRAME.top) / steps
  const bars = Array.from(
    { length: steps },
    (_, index) =>
      `<rect x="${left}" y="${(FRAME.top + index * step).toFixed(2)}" width="14" height="${(step + 0.5).toFixed(2)}" fill="${colour(1 - (2 * (index + 0.5)) / steps)}"/>`,
  )
  const labels = [1, 0, -1].map(
    (value) => `<text x="${left + 20}" y="${FRAME.top + ((1 - value) / 2) * (bottom - FRAME.top) + 4}">${value}</text>`,
  )
  return [...bars, ...labels]
}

/** Blue below 0, orange above, pale at 0: readable without telling red from green. */
function colour(value: number): string {
  const strength = Math.min(1, Math.abs(value))
  const [red, green, blue] = value < 0 ? [42, 120, 214] : [217, 84, 30]
  const mix = (end: number): number => Math.round(245 + (end - 245) * strength)
  return `rgb(${mix(red)} ${mix(green)} ${mix(blue)})`
}
