import { describe, expect, it } from 'vitest'
import { heatmap, type Heatmap } from '../../src/plots/heatmap.ts'
import { heatmapGrid } from '../../src/plots/heatmap-grid.ts'
import { laneTimeline, type LaneTimeline } from '../../src/plots/lane-timeline.ts'
import { linePlot } from '../../src/plots/line-plot.ts'
import { placeStrip } from '../../src/plots/place-strip.ts'
import { poolMatrix } from '../../src/plots/pool-matrix.ts'

const TOKENS = ['나는', '도서관에서', '<b>', '"책"']
const CAUSAL = [1, NaN, NaN, NaN, 0.5, 0.5, NaN, NaN, 0.2, 0.3, 0.5, NaN, 0, 0.25, 0.25, 0.5]
const plot: Heatmap = {
  title: 'Head <1>',
  values: CAUSAL,
  rows: 4,
  columns: 4,
  x: { label: 'key', tokens: TOKENS },
  y: { label: 'query', tokens: TOKENS },
  value: { label: 'weight' },
}
const timeline: LaneTimeline = {
  ...{ title: 'Lanes', lanes: 2, startMs: 1000 },
  tasks: [
    { lane: 0, kind: 'wasm', rowStart: 0, rows: 64, startMs: 1000, endMs: 1010 },
    { lane: 1, kind: 'webgpu', rowStart: 64, rows: 64, startMs: 1005, endMs: 1020 },
  ],
}

const drawings = {
  heatmap: (width: number) => heatmap(plot, { width }),
  'a pooled heatmap': (width: number) =>
    heatmap({ ...plot, values: new Float32Array(300 * 200).fill(0.5), rows: 300, columns: 200 }, { width }),
  'a grid of heatmaps': (width: number) =>
    heatmapGrid(
      {
        title: 'Heads',
        value: { label: 'weight' },
        panels: [
          [
            { ...plot, label: '1.1', note: 'previous & first' },
            { ...plot, label: '1.2' },
          ],
        ],
      },
      { width },
    ),
  'a timeline': (width: number) => laneTimeline(timeline, { width }),
  'a strip of places': (width: number) =>
    placeStrip(
      { title: 'Where “고래” attends', weights: new Float32Array(65_536).fill(1e-5), from: 9, x: 'place', y: 'weight' },
      { width },
    ),
}

describe.each(Object.entries(drawings))('%s', (_, draw) => {
  it.each([320, 640])('%i pixels wide is one well-formed element without broken numbers', (width) => {
    const svg = draw(width)
    expect(svg).toContain(`viewBox="0 0 ${width} `)
    const open = svg.match(/<[a-z]+(?: [^<>]*[^/<>])?>/g) ?? []
    expect(open.length).toBe((svg.match(/<\/[a-z]+>/g) ?? []).length)
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
    expect(svg).toContain('prefers-color-scheme: dark')
  })
})

describe('heatmap', () => {
  it('shows tokens of any script, as text', () => {
    const svg = heatmap(plot)
    for (const text of ['도서관에서', '&lt;b&gt;', '&quot;책&quot;', 'Head &lt;1&gt;']) expect(svg).toContain(text)
    expect(svg).not.toContain('<b>')
  })

  it('draws each value that exists in its colour, and cells that do not exist in none', () => {
    const svg = heatmap(plot)
    // Three pieces: one per row that the mask cuts off.
    expect(/class="cells none" d="([^"]*)"/.exec(svg)?.[1]?.match(/M/g)).toHaveLength(3)
    // The only 1 of the matrix has the last level; the rest of that class is the legend's.
    expect(/<path class="cells v23" d="([^"]*)"/.exec(svg)?.[1]?.match(/M/g)).toHaveLength(1)
    expect(svg).toContain('>0 to 1: weight</text>')
  })

  it('pools what the eye cannot tell apart, and says how', () => {
    const svg = heatmap({ ...plot, values: new Float32Array(300 * 200).fill(0.5), rows: 300, columns: 200 })
    expect(svg).toContain('largest of 4 × 3')
    expect(svg.length).toBeLessThan(60_000)
  })

  it('refuses a matrix without cells', () => {
    expect(() => heatmap({ ...plot, rows: 0 })).toThrow(RangeError)
  })
})

describe('poolMatrix', () => {
  const matrix = { values: [1, 2, NaN, 4, 5, NaN], rows: 2, columns: 3 }

  it('takes the largest or the mean of the cells that exist', () => {
    expect([...poolMatrix(matrix, 2, 'max').values]).toEqual([2, NaN, 5, NaN])
    expect([...poolMatrix(matrix, 2, 'mean').values]).toEqual([1.5, NaN, 4.5, NaN])
  })

  it('leaves a matrix that fits as it is', () => {
    expect([...poolMatrix(matrix, 3, 'mean').values]).toEqual(matrix.values)
  })
})

describe('laneTimeline', () => {
  it('has a bar for each task, in its lane and of its length', () => {
    const bars = [
      ...laneTimeline(timeline).matchAll(/<rect class="bar s(\d)" x="([\d.]+)" y="(\d+)" width="([\d.]+)"/g),
    ].map(([, colour, x, y, width]) => ({ colour, x: Number(x), y: Number(y), width: Number(width) }))
    expect(bars.map(({ colour }) => colour)).toEqual(['0', '1'])
    expect((bars[1]?.width ?? 0) / (bars[0]?.width ?? 1)).toBeCloseTo(1.5, 2)
    expect(bars[1]?.y).toBeGreaterThan(bars[0]?.y ?? Infinity)
    expect(laneTimeline(timeline)).toContain('lane 2 (webgpu): rows 64–127, 15.0 ms')
  })
})

describe('placeStrip', () => {
  it('keeps a single weight among many places visible', () => {
    const weights = new Float32Array(65_536)
    weights[40_000] = 1
    const path =
      /<path class="curve s0" d="([^"]*)"/.exec(placeStrip({ title: 'one', weights, x: 'place', y: 'weight' }))?.[1] ??
      ''
    const [, x] = /^M([\d.]+),150V44$/.exec(path) ?? []
    // Places span 72 to 624 pixels.
    expect(Number(x)).toBeCloseTo(72 + (552 * 40_000) / 65_536, -0.5)
  })
})

describe('a narrow plot', () => {
  it('breaks its legend into lines and leaves out labels that would touch', () => {
    const series = ['first long name', 'second long name', 'third long name', 'fourth long name'].map((name) => ({
      name,
      points: [
        { x: 0, y: 1 },
        { x: 100_000, y: 2 },
      ],
    }))
    const svg = linePlot(
      { title: 'narrow', x: { label: 'n', scale: 'linear' }, y: { label: 'y', scale: 'linear' }, series },
      { width: 320 },
    )
    const rows = new Set([...svg.matchAll(/class="legend" x="[\d.]+" y="(\d+)"/g)].map(([, y]) => y))
    expect(rows.size).toBeGreaterThan(1)
    expect(svg.match(/text-anchor="middle">[\d,]+<\/text>/g)?.length).toBeLessThan(6)
  })

  it('without a style of its own leaves that to the page', () => {
    expect(heatmap(plot, { styled: false })).not.toContain('<style>')
  })
})
