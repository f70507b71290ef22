import { PLOT_STYLE, type Drawing } from '../../plots/frame.ts'
import { escapeText } from '../../plots/markup.ts'

/** A part of a page: a heading over HTML that is already escaped. */
export interface Section {
  readonly heading: string
  readonly html: string
}

/** A large figure at the top of a page. */
export interface KeyFigure {
  readonly label: string
  readonly value: string
}

/** Widths at which a plot is drawn: one of two side by side, one that has the page's width, and on a phone. */
const WIDTHS = { pair: 500, alone: 660, phone: 350 } as const

const STYLE = `
:root { color-scheme: light dark; --page: #f5f4f1; --surface: #fcfcfb; --ink: #0b0b0b; --soft: #52514e; --line: #e4e3df; --good: #0f6b4c; --bad: #b3261e; --shade: #00000038; }
@media (prefers-color-scheme: dark) { :root { --page: #111110; --surface: #1a1a19; --ink: #ffffff; --soft: #c3c2b7; --line: #33332f; --good: #4cc494; --bad: #ff8a80; --shade: #ffffff40; } }
* { box-sizing: border-box; } body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
main { max-width: 1060px; margin: 0 auto; padding: 40px 20px 64px; } h1 { font-size: 27px; margin: 0 0 6px; letter-spacing: -0.01em; }
h2 { font-size: 18px; margin: 40px 0 12px; } .lead { color: var(--soft); margin: 0 0 28px; max-width: 75ch; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 0; }
.figures div { background: var(--surface); border: 1px solid var(--line); border-radius: 10px; padding: 12px 16px; }
.figures dt { color: var(--soft); font-size: 13px; } .figures dd { margin: 2px 0 0; font-size: 21px; font-weight: 600; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 440px), 1fr)); gap: 16px; margin: 16px 0; } .plots.alone { grid-template-columns: minmax(0, 760px); }
.plots svg { display: block; width: 100%; max-width: 560px; height: auto; border: 1px solid var(--line); border-radius: 10px; } .plots.alone svg { max-width: 760px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; background: linear-gradient(90deg, var(--surface) 50%, transparent) 0 0 / 32px 100% no-repeat local, linear-gradient(270deg, var(--surface) 50%, transparent) 100% 0 / 32px 100% no-repeat local, linear-gradient(90deg, var(--shade), transparent) 0 0 / 16px 100% no-repeat scroll, linear-gradient(270deg, var(--shade), transparent) 100% 0 / 16px 100% no-repeat scroll, var(--surface); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; } th { color: var(--soft); font-weight: 500; font-size: 13px; }
th, td { text-align: right; padding: 7px 14px; border-bottom: 1px solid var(--line); white-space: nowrap; } tr:last-child td { border-bottom: 0; }
th.left, td.left { text-align: left; } td.wrap { white-space: normal; min-width: 16em; } pre { margin: 0; padding: 14px 16px; font: 13px/1.5 ui-monospace, monospace; } code { font: 13px ui-monospace, monospace; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); } p { max-width: 80ch; } ul { padding: 0; list-style: none; } small { color: var(--soft); font-size: 13px; }
.phone { display: none; } @media (max-width: 600px) { .desk { display: none; } .phone { display: block; } .plots .phone svg { max-width: 420px; } main { padding: 24px 20px 48px; } th, td { padding: 6px 8px; } th { white-space: normal; vertical-align: bottom; } td.wrap { min-width: 9.5em; } }
`.trim()

/** A whole page in one file: nothing is fetched. */
export function htmlPage(
  title: string,
  lead: string,
  figures: readonly KeyFigure[],
  sections: readonly Section[],
): string {
  const figure = ({ label, value }: KeyFigure): string =>
    `<div><dt>${escapeText(label)}</dt><dd>${escapeText(value)}</dd></div>`
  return [
    '<!doctype html>',
    '<html lang="en">',
    `<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>${escapeText(title)}</title>`,
    `<style>${STYLE}\n${PLOT_STYLE}</style></head>`,
    `<body><main><h1>${escapeText(title)}</h1><p class="lead">${escapeText(lead)}</p>`,
    `<dl class="figures">${figures.map(figure).join('')}</dl>`,
    ...sections.map(({ heading, html }) => `<section><h2>${escapeText(heading)}</h2>${html}</section>`),
    '</main></body></html>',
    '',
  ].join('\n')
}

/** Which columns of a table are text. */
export interface TableLayout {
  /** the first so many columns are text. @default 1 */
  readonly left?: number
  /** the column of sentences, which may go on in the next line */
  readonly wrapped?: number
}

/** A table; one that is too wide for the page moves sideways in its own frame. */
export function htmlTable(
  heads: readonly string[],
  rows: readonly (readonly string[])[],
  { left = 1, wrapped = -1 }: TableLayout = {},
): string {
  const classOf = (tag: 'th' | 'td', index: number): string => {
    const names = [
      ...(index < left || index === wrapped ? ['left'] : []),
      ...(tag === 'td' && index === wrapped ? ['wrap'] : []),
    ]
    return names.length === 0 ? '' : ` class="${names.join(' ')}"`
  }
  const cell = (tag: 'th' | 'td') => (text: string, index: number) =>
    `<${tag}${classOf(tag, index)}>${escapeText(text)}</${tag}>`
  const line = (tag: 'th' | 'td', cells: readonly string[]): string => `<tr>${cells.map(cell(tag)).join('')}</tr>`
  return `<div class="scroll" tabindex="0"><table><thead>${line('th', heads)}</thead><tbody>${rows.map((row) => line('td', row)).join('')}</tbody></table></div>`
}

/** Text as a terminal shows it. */
export function htmlBlock(text: string): string {
  return `<div class="scroll" tabindex="0"><pre>${escapeText(text)}</pre></div>`
}

/** Plots, two side by side where there is room. */
export function htmlPlots(drawings: readonly Drawing[]): string {
  return `<div class="plots">${drawings.map((draw) => htmlPlot(draw, WIDTHS.pair)).join('\n')}</div>`
}

/** A plot that needs the page's width. */
export function htmlWidePlot(drawing: Drawing): string {
  return `<div class="plots alone">${htmlPlot(drawing, WIDTHS.alone)}</div>`
}

/** A plot for a desk and for a phone, of which the page shows one: text keeps its size in both. */
function htmlPlot(draw: Drawing, width: number): string {
  const at = (place: 'desk' | 'phone', drawn: number): string =>
    `<div class="${place}">${draw({ width: drawn, styled: false })}</div>`
  return `<div>${at('desk', width)}${at('phone', WIDTHS.phone)}</div>`
}

/** Checks as a list: passed or failed, in words and in colour. */
export function htmlChecks(
  checks: readonly { readonly name: string; readonly passed: boolean; readonly detail: string }[],
): string {
  const item = ({ name, passed, detail }: (typeof checks)[number]): string =>
    `<li><strong class="${passed ? 'good' : 'bad'}">${passed ? '✓ passed' : '✗ failed'}</strong> ${escapeText(name)} <small>(${escapeText(detail)})</small></li>`
  return `<ul>${checks.map(item).join('')}</ul>`
}
