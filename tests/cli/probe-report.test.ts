import type { ProbeRecord, Role } from 'heddle/analysis'
import { describe, expect, it } from 'vitest'
import { probePlots, probeReport, probeSections } from '../../src/cli/train/probe-report.ts'

const N = 8
const role = (name: string): Role => ({ name, value: 0.8, baseline: 0.05 })

/** A record of two heads, the second of which has the role. Its heatmaps hold the step's number. */
function record(step: number, loss: number, second: string | null, size = N): ProbeRecord {
  const heatmap = Array.from({ length: size }, (_, row) =>
    Array.from({ length: size }, (__, column) => (column <= row ? step / 1000 + 1 / 30_000 : 0)),
  )
  const heads = [null, second].map((name, head) => ({
    ...{ layer: 1, head, scores: {}, heatmap },
    roles: name === null ? [] : [role(name)],
  }))
  const axis = Array.from({ length: size }, (_, start) => ({
    start,
    end: start + 1,
    label: start === 0 ? '\n' : '<a>',
  }))
  return { step, loss, entropy: 2, heads, axes: { sequence: 0, queries: axis, keys: axis }, elapsedMs: 1 }
}

const records = [
  record(0, 4, null),
  record(10, 3.9, null),
  record(20, 3.8, null),
  record(30, 1, 'induction'),
  record(40, 0.9, 'induction'),
  record(50, 0.9, 'induction'),
  record(60, 0.9, 'relation: verb'),
  record(70, 0.8, 'relation: verb'),
]
const html = (report: ReturnType<typeof probeReport>): string =>
  probeSections(report)
    .map(({ heading, html: body }) => heading + body)
    .join('\n')

describe('the report of a probe', () => {
  const report = probeReport(records)

  it('has the role of each head at each record, and the steps around the steepest fall, as data', () => {
    expect(report.stages.timeline).toEqual([
      { head: '1.0', roles: Array.from({ length: 8 }, () => null) },
      {
        head: '1.1',
        roles: [null, null, null, ...Array.from({ length: 3 }, () => 'induction'), 'relation: verb', 'relation: verb'],
      },
    ])
    expect(report.stages.evolution).toEqual([0, 20, 30, 40, 60, 70])
  })

  it('keeps heatmaps of the steps that it shows, and rounds them', () => {
    const kept = report.records.filter(({ heads }) => heads[0]!.heatmap !== null).map(({ step }) => step)
    expect(kept).toEqual(report.stages.evolution)
    expect(report.records[3]!.heads[1]!.heatmap![2]).toEqual([0.03, 0.03, 0.03, 0, 0, 0, 0, 0])
    expect(report.records[2]!.heads[1]!.roles).toEqual([])
  })

  it('of a long sequence keeps the first positions, one by one', () => {
    const [first] = probeReport([record(0, 4, null, 100)]).records
    expect(first!.axes.keys).toHaveLength(32)
    expect(first!.heads[0]!.heatmap!.map((row) => row.length)).toEqual(Array.from({ length: 32 }, () => 32))
  })

  it('shows a row per head that takes on a role, and a panel per chosen step', () => {
    const svg = probePlots(report)['evolution']!({ width: 660 })
    const labels = [...svg.matchAll(/class="strong"[^>]*>([^<]*)</g)].map(([, label]) => label)
    expect(labels).toEqual([0, 20, 30, 40, 60, 70].map((step) => `1.1 at ${step}`))
    expect(svg).toContain('>induction</text>')
    expect(svg).toContain('>verb</text>')
  })

  it('shows roles over time, in colours by role, beside the fall of the loss', () => {
    const svg = probePlots(report)['roles']!({})
    expect(svg).toContain('<title>1.1: induction, 30–50</title><rect class="k6"')
    expect(svg).toContain('<title>1.1: a relation, 60–70</title><rect class="k7"')
    expect(svg).toContain('<title>fastest fall of the loss: 20–30</title>')
  })

  it('has a table of step, loss, entropy and what the heads do by then, and text stays text', () => {
    const page = html(report)
    expect(page).toContain('<td>20</td><td>3.800</td><td>2.00</td><td class="left wrap">no head has a role</td>')
    expect(page).toContain('<td>30</td><td>1.000</td><td>2.00</td><td class="left wrap">induction: 1.1</td>')
    expect(page).toContain('⏎&lt;a&gt;')
    expect(page).not.toMatch(/<a>|NaN|undefined/)
  })

  it('draws nothing of fewer than three records', () => {
    const short = probeReport(records.slice(0, 2))
    expect(probePlots(short)).toEqual({})
    expect(html(short)).toContain('no head takes on a role')
  })
})
