import { coordinate, escapeText } from './markup.ts'
import { colourRules, LEVELS } from './palette.ts'

/** How every plot may be drawn. */
export interface PlotOptions {
  /**
   * of the drawing, in pixels: text keeps its size, so that a plot for a phone is drawn narrower, not smaller. @default
   * 640
   */
  readonly width?: number
  /**
   * Whether the `<svg>` carries its style; a page that has `PLOT_RULES` in its own style sheet needs none. @default
   * true
   */
  readonly styled?: boolean
}

export const DEFAULT_WIDTH = 640

const SERIES = [0, 1, 2, 3].map(
  (index) =>
    `.plot .curve.s${index}{stroke:var(--series-${index})}.plot .s${index}.marker,.plot .bar.s${index}{fill:var(--series-${index})}`,
)
const SCALES = Array.from(
  { length: LEVELS },
  (_, level) => `.plot .v${level}{fill:var(--ramp-${level})}.plot .w${level}{fill:var(--split-${level})}`,
)

/** What the classes in a plot look like, colours aside. */
export const PLOT_RULES = `
.plot { font: 12px system-ui, "Apple SD Gothic Neo", "Noto Sans KR", "Malgun Gothic", sans-serif; }
.plot .surface { fill: var(--surface); } .plot text { fill: var(--soft); } .plot .title { fill: var(--ink); font-size: 15px; font-weight: 600; }
.plot .legend, .plot .strong { fill: var(--ink); } .plot .note { font-style: italic; } .plot .grid { stroke: var(--grid); } .plot .axis { stroke: var(--axis); }
.plot .curve { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; } .plot .marker { stroke: var(--surface); stroke-width: 1.5; } .plot .small { stroke: none; }
.plot .cells { shape-rendering: crispEdges; } .plot .none { fill: var(--grid); } .plot .edge { fill: none; stroke: var(--axis); } .plot .bar { stroke: var(--surface); stroke-width: 0.5; }
${SERIES.join('\n')}
${SCALES.join('')}
`.trim()

/** Rules and colours of a plot that stands alone. */
export const PLOT_STYLE = `${colourRules()}\n${PLOT_RULES}`

/** One `<svg>` with its title; `body` is markup. */
export function plotFrame(
  title: string,
  { width, height }: { readonly width: number; readonly height: number },
  body: readonly string[],
  { styled = true }: PlotOptions,
): string {
  return [
    `<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${coordinate(width)} ${coordinate(height)}" role="img" aria-label="${escapeText(title)}">`,
    ...(styled ? [`<style>${PLOT_STYLE}</style>`] : []),
    `<rect class="surface" width="${coordinate(width)}" height="${coordinate(height)}"/>`,
    `<text class="title" x="16" y="24">${escapeText(title)}</text>`,
    ...body,
    '</svg>',
  ].join('\n')
}

/** About how wide a text is at 12 pixels: letters of East Asia take a full square. */
export function textWidth(text: string): number {
  let width = 0
  for (const character of text) width += (character.codePointAt(0) ?? 0) >= 0x1100 ? 12 : 6.6
  return width
}

/** A text cut to a width, with an ellipsis. */
export function fitText(text: string, width: number): string {
  if (textWidth(text) <= width) return text
  let cut = ''
  for (const character of text) {
    if (textWidth(cut + character) > width - 9) break
    cut += character
  }
  return `${cut}…`
}
