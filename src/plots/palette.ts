/** A colour in OKLab (Ottosson 2020), where equal distances look equally large. */
type Lab = readonly [lightness: number, a: number, b: number]

/** Steps of a scale: neighbours can just be told apart. */
export const LEVELS = 24

interface Scale {
  readonly light: readonly string[]
  readonly dark: readonly string[]
}

/**
 * From the surface to one hue: lightness alone orders the values, so that it reads the same for every kind of colour
 * vision.
 */
const SEQUENTIAL: Scale = {
  light: ramp(['#f4f3f0', '#7ea3dc', '#17336f']),
  dark: ramp(['#232322', '#3d6bb8', '#d5e4ff']),
}

/** Blue to orange through grey, which stay apart without red or green receptors. */
const DIVERGING: Scale = {
  light: ramp(['#1d4a94', '#eeede9', '#a8430d']),
  dark: ramp(['#8db7f7', '#2b2b2a', '#f4a06f']),
}

/** Kinds that a plot can tell apart by colour. */
export const KINDS = 8

/**
 * Eight kinds of things, at least 0.07 apart from each other in OKLab for normal vision, and as people without red,
 * green or blue receptors see them (Machado, Oliveira and Fernandes 2009); 3 : 1 or more against their surface.
 */
const KIND_COLOURS: Readonly<Record<keyof Themed, readonly string[]>> = {
  light: ['#376bdf', '#069cc5', '#4e6c45', '#aa8d58', '#a65f97', '#42229c', '#bf2e15', '#3f3d39'],
  dark: ['#63a4e9', '#71d6f9', '#b7f5b6', '#e9bb01', '#a35c9e', '#8264e9', '#d1430d', '#a09e98'],
}

interface Themed {
  readonly light: string
  readonly dark: string
}

/** What a plot's style names: each pair keeps its contrast on its own surface. */
const COLOURS: Readonly<Record<string, Themed>> = {
  surface: { light: '#fcfcfb', dark: '#1a1a19' },
  ink: { light: '#0b0b0b', dark: '#ffffff' },
  soft: { light: '#52514e', dark: '#c3c2b7' },
  grid: { light: '#e4e3df', dark: '#33332f' },
  axis: { light: '#b9b8b3', dark: '#5c5b56' },
  'series-0': { light: '#2a78d6', dark: '#5598e8' },
  'series-1': { light: '#d9541e', dark: '#f0814f' },
  'series-2': { light: '#12815c', dark: '#35b184' },
  'series-3': { light: '#7a4fc9', dark: '#a98aec' },
  ...kindColours(),
  ...scaleColours('ramp', SEQUENTIAL),
  ...scaleColours('split', DIVERGING),
}

/** Declarations of all colours for a plot in a file of its own: light, and dark where the reader prefers it. */
export function colourRules(): string {
  const declare = (theme: keyof Themed): string =>
    Object.entries(COLOURS)
      .map(([name, pair]) => `--${name}:${pair[theme]}`)
      .join(';')
  return `.plot{${declare('light')}}\n@media (prefers-color-scheme: dark){.plot{${declare('dark')}}}`
}

/** The same for a page that lets its reader choose: they follow the `color-scheme` of the element. */
export function pageColourRules(): string {
  return `.plot{${Object.entries(COLOURS)
    .map(([name, { light, dark }]) => `--${name}:light-dark(${light},${dark})`)
    .join(';')}}`
}

/** The level of a value in a domain, 0 to LEVELS − 1. */
export function levelOf(value: number, [low, high]: readonly [number, number]): number {
  if (high <= low) return 0
  return Math.max(0, Math.min(LEVELS - 1, Math.round(((value - low) / (high - low)) * (LEVELS - 1))))
}

function kindColours(): Record<string, Themed> {
  return Object.fromEntries(
    KIND_COLOURS.light.map((light, kind) => [`kind-${kind}`, { light, dark: KIND_COLOURS.dark[kind] ?? light }]),
  )
}

function scaleColours(name: string, { light, dark }: Scale): Record<string, Themed> {
  return Object.fromEntries(
    light.map((colour, level) => [`${name}-${level}`, { light: colour, dark: dark[level] ?? colour }]),
  )
}

/** LEVELS colours through the anchors, at even distances in OKLab. */
function ramp(anchors: readonly string[]): string[] {
  const points = anchors.map(labOf)
  const lengths = points.slice(1).map((point, index) => distance(point, points[index] ?? point))
  const total = lengths.reduce((sum, length) => sum + length, 0)
  return Array.from({ length: LEVELS }, (_, level) => {
    let rest = (level / (LEVELS - 1)) * total
    let part = 0
    while (part < lengths.length - 1 && rest > (lengths[part] ?? 0)) rest -= lengths[part++] ?? 0
    return hexOf(between(points[part], points[part + 1], rest / (lengths[part] ?? 1)))
  })
}

function distance(from: Lab, to: Lab): number {
  return Math.hypot(from[0] - to[0], from[1] - to[1], from[2] - to[2])
}

function between(from: Lab = [0, 0, 0], to: Lab = from, share: number): Lab {
  const mix = (index: 0 | 1 | 2): number => from[index] + (to[index] - from[index]) * share
  return [mix(0), mix(1), mix(2)]
}

function labOf(hex: string): Lab {
  const [r, g, b] = [1, 3, 5].map((at) => linearised(parseInt(hex.slice(at, at + 2), 16) / 255)) as [
    number,
    number,
    number,
  ]
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ]
}

function hexOf([lightness, a, b]: Lab): string {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
  const channels = [
    4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s,
    -1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s,
    -0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s,
  ]
  return `#${channels.map((channel) => byteOf(channel).toString(16).padStart(2, '0')).join('')}`
}

function linearised(channel: number): number {
  return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4
}

function byteOf(linear: number): number {
  const channel = linear <= 0.0031308 ? linear * 12.92 : 1.055 * Math.max(linear, 0) ** (1 / 2.4) - 0.055
  return Math.round(Math.min(1, Math.max(0, channel)) * 255)
}
