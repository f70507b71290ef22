import { describe, expect, it } from 'vitest'
import { axisScale } from '../../src/plots/axis.ts'
import { growthPlots, shortCount } from '../../src/plots/growth-plots.ts'
import { linePlot, type LinePlot } from '../../src/plots/line-plot.ts'

const plot: LinePlot = {
  title: 'Time & <more>',
  x: { label: 'sequence length n', unit: 'tokens', scale: 'log2', format: shortCount },
  y: { label: 'time', unit: 's', scale: 'linear' },
  series: [
    {
      name: 'chunked',
      points: [
        { x: 1024, y: 1 },
        { x: 2048, y: 4 },
      ],
    },
    { name: 'standard', points: [{ x: 1024, y: 2 }], endNote: 'no memory' },
  ],
}

describe('linePlot', () => {
  const svg = linePlot(plot)

  it('has a title, axes with units, and a legend', () => {
    expect(svg).toContain('Time &amp; &lt;more&gt;')
    expect(svg).toContain('>sequence length n (tokens), log scale</text>')
    expect(svg).toContain('>time (s)</text>')
    for (const name of ['chunked', 'standard']) expect(svg).toMatch(new RegExp(`class="legend"[^>]*>${name}</text>`))
    for (const tick of ['1k', '2k', '4']) expect(svg).toContain(`>${tick}</text>`)
  })

  it('has a curve and a marker for each point, with its value in a tip', () => {
    // The legend has one of each kind, too.
    expect(svg.match(/<circle class="marker s0"/g)).toHaveLength(3)
    expect(svg.match(/<path class="marker s1"/g)).toHaveLength(2)
    expect(svg).toContain('<title>chunked: 2k, 4</title>')
    expect(svg).toContain('>no memory</text>')
  })

  it('is one element that is well formed and sets colours for light and dark', () => {
    const open = svg.match(/<[a-z]+(?: [^<>]*[^/<>])?>/g) ?? []
    const closed = svg.match(/<\/[a-z]+>/g) ?? []
    expect(open.length).toBe(closed.length)
    expect(svg).toContain('prefers-color-scheme: dark')
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('refuses to draw nothing', () => {
    expect(() => linePlot({ ...plot, series: [{ name: 'empty', points: [] }] })).toThrow(RangeError)
  })
})

describe('axisScale', () => {
  it('begins and ends a logarithmic axis at powers of its base, with at most nine ticks', () => {
    const { ticks, position } = axisScale({ label: 'n', scale: 'log2' }, [1000, 262_144], 0, 100)
    expect(ticks[0]).toBe(512)
    expect(position(512)).toBe(0)
    expect(position(262_144)).toBe(100)
    expect(ticks.length).toBeLessThanOrEqual(9)
  })

  it('begins a linear axis at zero', () => {
    const { position, ticks } = axisScale({ label: 'speed', scale: 'linear' }, [30, 47], 300, 0)
    expect(position(0)).toBe(300)
    expect(ticks[0]).toBe(0)
    expect(position(47)).toBeGreaterThanOrEqual(0)
  })

  it('draws a single value', () => {
    const { position } = axisScale({ label: 'n', scale: 'log10' }, [10], 0, 100)
    expect(position(10)).toBe(0)
  })
})

describe('growthPlots', () => {
  it('draws time and memory of both modes against n', () => {
    const points = [1024, 2048, 4096].flatMap((tokens) =>
      (['chunked', 'standard'] as const).map((mode) => ({
        tokens,
        mode,
        elapsedMs: tokens / 10,
        peakBytes: tokens * 4096,
      })),
    )
    const { time, memory } = growthPlots(points, true)!
    for (const draw of [time, memory])
      for (const name of [
        'chunked mode',
        'standard mode',
        'sequence length n (tokens), log',
        'standard mode ends here',
      ])
        expect(draw({})).toContain(name)
    expect(memory({})).toContain('MiB')
    expect(time({})).toContain('100 ms')
    expect(time({})).toContain('>time, log scale</text>')
  })

  it('draws nothing below three sizes: a dot or two say less than a table', () => {
    const point = { mode: 'chunked', elapsedMs: 1, peakBytes: 4096 } as const
    expect(
      growthPlots(
        [
          { ...point, tokens: 1024 },
          { ...point, tokens: 2048 },
        ],
        false,
      ),
    ).toBeNull()
  })
})
