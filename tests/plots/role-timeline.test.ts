import { describe, expect, it } from 'vitest'
import { roleTimeline, type RoleTimeline } from '../../src/plots/role-timeline.ts'

const plot: RoleTimeline = {
  title: 'Roles & steps',
  places: [0, 100, 200, 300],
  rows: [
    { label: '0.0', kinds: [null, 'previous', 'previous', null] },
    { label: '1.2', kinds: [null, null, null, 'induction'] },
    { label: '1.3', kinds: [null, null, null, null] },
  ],
  kinds: [
    { name: 'previous', label: 'previous <token>' },
    { name: 'self', label: 'own position' },
    { name: 'induction', label: 'induction' },
  ],
  x: 'step',
  y: 'head',
}

/** The bars of a drawing: the class of the kind, and where they lie. */
function bars(svg: string) {
  const found = svg.matchAll(/<title>([^<]*)<\/title><rect class="k(\d)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)"/g)
  return [...found].map(([, tip, kind, x, y, width]) => ({
    tip,
    kind: Number(kind),
    x: Number(x),
    y: Number(y),
    width: Number(width),
  }))
}

describe('roleTimeline', () => {
  it('has a bar per stretch, in the row of its head, the colour of its kind and the length of its time', () => {
    const [first, second, ...others] = bars(roleTimeline(plot))
    expect(others).toEqual([])
    expect(first).toMatchObject({ tip: '0.0: previous &lt;token&gt;, 100–200', kind: 0 })
    expect(second).toMatchObject({ tip: '1.2: induction, 300', kind: 2 })
    expect(second!.y).toBeGreaterThan(first!.y)
    // From halfway before the first record with the role to halfway behind the last: 50 to 250, and 250 to 300.
    expect(second!.x).toBeCloseTo(first!.x + first!.width, 0)
    expect(first!.width / second!.width).toBeCloseTo(4, 1)
  })

  it('names its axes, its heads and the kinds that appear, and no others', () => {
    const svg = roleTimeline(plot)
    for (const text of ['step', 'head', '0.0', '1.2', '1.3']) expect(svg).toContain(`>${text}</text>`)
    expect(svg).toMatch(/class="legend"[^>]*>induction</)
    expect(svg).not.toContain('own position')
  })

  it('marks a band where one is given', () => {
    const svg = roleTimeline({ ...plot, band: { from: 100, to: 200, label: 'fastest fall' } })
    expect(svg).toContain('<title>fastest fall: 100–200</title>')
    expect(svg).toMatch(/class="legend"[^>]*>fastest fall</)
  })

  it.each([320, 640])('%i pixels wide is one well-formed element without broken numbers', (width) => {
    const svg = roleTimeline(plot, { width })
    expect(svg).toContain(`viewBox="0 0 ${width} `)
    const open = svg.match(/<[a-z]+(?: [^<>]*[^/<>])?>/g) ?? []
    expect(open.length).toBe((svg.match(/<\/[a-z]+>/g) ?? []).length)
    expect(svg).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('refuses a single place: it has no length', () => {
    expect(() => roleTimeline({ ...plot, places: [0] })).toThrow(RangeError)
  })
})
