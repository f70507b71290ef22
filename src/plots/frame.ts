import { coordinate, escapeText } from './markup.ts'
import { colourRules, KINDS, LEVELS } from './palette.ts'

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

/** A plot that can be drawn at any width: a page draws it once for a desk and once for a phone. */
export type Drawing = (options: PlotOptions) => string

/** Left edge of a title, and the room that it leaves on the right. */
const TITLE_MARGIN = 16
/** Height of each further line of a title. */
const TITLE_LINE = 19
/** How much wider a title's letters are than those of 12 pixels, to which `textWidth` belongs. */
const TITLE_SCALE = 1.45

const SERIES = [0, 1, 2, 3].map(
  (index) =>
    `.plot .curve.s${index}{stroke:var(--series-${index})}.plot .s${index}.marker,.plot .bar.s${index}{fill:var(--series-${index})}`,
)
const KIND_RULES = Array.from({ length: KINDS }, (_, kind) => `.plot .k${kind}{fill:var(--kind-${kind})}`)
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
.plot .cells { shape-rendering: crispEdges; } .plot .none { fill: var(--grid); } .plot .edge { fill: none; stroke: var(--axis); } .plot .bar { stroke: var(--surface); stroke-width: 0.5; } .plot .band { fill: var(--grid); opacity: 0.6; }
${SERIES.join('\n')}
${KIND_RULES.join('')}
${SCALES.join('')}
`.trim()

/** Rules and colours of a plot in a file of its own. */
export const PLOT_STYLE = `${colourRules()}\n${PLOT_RULES}`

/** One `<svg>` with its title, in as many lines as it needs; `body` is markup, which moves down by them. */
export function plotFrame(
  title: string,
  { width, height }: { readonly width: number; readonly height: number },
  body: readonly string[],
  { styled = true }: PlotOptions,
): string {
  const lines = wrapText(title, (width - 2 * TITLE_MARGIN) / TITLE_SCALE)
  const extra = (lines.length - 1) * TITLE_LINE
  const size = { width: coordinate(width), height: coordinate(height + extra) }
  return [
    `<svg class="plot" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-label="${escapeText(title)}">`,
    ...(styled ? [`<style>${PLOT_STYLE}</style>`] : []),
    `<rect class="surface" width="${size.width}" height="${size.height}"/>`,
    ...lines.map(
      (line, index) =>
        `<text class="title" x="${TITLE_MARGIN}" y="${24 + index * TITLE_LINE}">${escapeText(line)}</text>`,
    ),
    ...(extra === 0 ? body : [`<g transform="translate(0,${extra})">`, ...body, '</g>']),
    '</svg>',
  ].join('\n')
}

/** A text as lines of at most `width` pixels, broken between words; a word that is longer has a line of its own. */
export function wrapText(text: string, width: number): string[] {
  const lines: string[] = []
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1) ?? ''} ${word}`
    if (lines.length > 0 && textWidth(longer) <= width) lines[lines.length - 1] = longer
    else lines.push(word)
  }
  return lines
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
