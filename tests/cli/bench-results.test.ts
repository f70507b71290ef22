import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { BenchResult } from '../../src/cli/bench/measure-setting.ts'
import { normalValues } from '../../src/cli/bench/normal-values.ts'
import { largestDifference, referenceRow } from '../../src/cli/bench/reference-rows.ts'
import { spreadOf } from '../../src/cli/bench/spread.ts'
import { timeTasks } from '../../src/cli/bench/time-tasks.ts'
import { benchPage, medianRatio, type BenchReport } from '../../src/cli/bench/bench-report.ts'
import { compareRuns } from '../../src/cli/bench/compare-runs.ts'
import { describeMachine } from '../../src/cli/machine.ts'
import { heddle } from './heddle.ts'

function result(tokens: number, mode: 'standard' | 'chunked', medianMs: number, samples = 9): BenchResult {
  const spread = { medianMs, lowMs: medianMs * 0.95, highMs: medianMs * 1.05, samples }
  return {
    mode,
    tokens,
    heads: 8,
    headSize: 64,
    causal: false,
    workers: 2,
    ...spread,
    gigaflopsPerSecond: 40,
    peakBytes: 1e6,
    kernels: 'simd',
    worstError: 1e-7,
  }
}

function report(...results: BenchResult[]): BenchReport {
  return {
    format: 'heddle-bench/1',
    date: '2030-01-01T00:00:00.000Z',
    machine: describeMachine(),
    results,
    skipped: [],
    medianRatio: medianRatio(results),
  }
}

describe('spreadOf', () => {
  it('gives median and quartiles of unsorted samples', () => {
    expect(spreadOf([5, 1, 4, 2, 3])).toEqual({ medianMs: 3, lowMs: 2, highMs: 4, samples: 5 })
    expect(spreadOf([2, 1])).toEqual({ medianMs: 1.5, lowMs: 1.25, highMs: 1.75, samples: 2 })
    expect(() => spreadOf([])).toThrow(RangeError)
  })
})

describe('timeTasks', () => {
  it('calls each task as often as asked for, in turns whose order alternates', async () => {
    const calls: string[] = []
    const task = (name: string) => ({ name, run: () => Promise.resolve(calls.push(name)) })
    const samples = await timeTasks([task('a'), task('b')], {
      iterations: 4,
      rounds: 2,
      signal: new AbortController().signal,
    })
    expect(calls.join('')).toBe('aabbbbaa')
    expect(samples.get('a')).toHaveLength(4)
    expect(samples.get('b')).toHaveLength(4)
  })

  it('passes on what a task throws, and an abort', async () => {
    const signal = new AbortController().signal
    const failing = { name: 'a', run: () => Promise.reject(new Error('wrong')) }
    await expect(timeTasks([failing], { iterations: 1, rounds: 1, signal })).rejects.toThrow('wrong')
    const aborted = AbortSignal.abort(new Error('interrupted'))
    await expect(timeTasks([failing], { iterations: 1, rounds: 1, signal: aborted })).rejects.toThrow('interrupted')
  })
})

describe('referenceRow', () => {
  it('weighs values by the softmax of scaled scores', () => {
    const data = {
      query: Float32Array.of(2, 0, 0, 0),
      key: Float32Array.of(Math.log(3), 0, 0, 0, 0, 0, 0, 0),
      value: Float32Array.of(1, 5),
      headSize: 4,
      valueSize: 1,
    }
    // scores ln 3 and 0: weights 3/4 and 1/4
    expect(referenceRow(data, 0, 2)[0]).toBeCloseTo(2, 6)
    expect(referenceRow(data, 0, 1)[0]).toBe(1)
  })

  it('largestDifference finds NaN and unequal lengths', () => {
    expect(largestDifference([1, 2], [1, 4])).toBe(2)
    expect(largestDifference([NaN], [1])).toBe(Infinity)
    expect(largestDifference([1], [1, 2])).toBe(Infinity)
  })
})

describe('normalValues', () => {
  it('are seeded, with mean 0 and variance 1', () => {
    const values = normalValues(20_000, 3)
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length
    expect(Math.abs(mean)).toBeLessThan(0.05)
    expect(Math.abs(variance - 1)).toBeLessThan(0.05)
    expect(normalValues(20_000, 3)).toEqual(values)
    expect(normalValues(4, 4)).not.toEqual(normalValues(4, 3))
  })
})

describe('bench report', () => {
  it('takes the median ratio over n ≥ 512', () => {
    const results = [
      result(128, 'standard', 9),
      result(128, 'chunked', 1),
      result(512, 'standard', 2),
      result(512, 'chunked', 1),
      result(1024, 'standard', 6),
      result(1024, 'chunked', 2),
    ]
    expect(medianRatio(results)).toBe(2.5)
    expect(medianRatio(results.slice(0, 2))).toBeUndefined()
  })

  it('has a page also where no case was timed', () => {
    const page = benchPage(report())
    expect(page).toContain('<dt>cases</dt><dd>0</dd>')
    expect(page).toContain('<dt>standard ÷ chunked, median</dt><dd>–</dd>')
    expect(page).toContain('<tbody></tbody>')
    expect(page).not.toContain('<svg')
    expect(page).not.toMatch(/NaN|Infinity|undefined/)
  })

  it('has a page with plots, units and every case', () => {
    const sizes = [512, 1024, 2048].flatMap((n) => [result(n, 'standard', 2), result(n, 'chunked', 1)])
    const page = benchPage(report(...sizes))
    const axes = ['speed (GFLOP/s)', 'sequence length n (tokens), log scale', 'peak memory, log scale']
    for (const text of [...axes, '2.00 ×', '1.00 ms', 'chunked']) expect(page).toContain(text)
    // below three lengths a plot would be a dot or two
    const short = benchPage(report(...sizes.slice(0, 4)))
    expect(short).not.toContain('<svg')
    expect(short).toContain('2.00 ×')
  })
})

describe('compareRuns', () => {
  it('calls a case faster or slower only where the quartiles are apart', () => {
    const before = report(
      result(128, 'chunked', 10),
      result(256, 'chunked', 10),
      result(512, 'chunked', 10),
      result(1024, 'chunked', 10),
    )
    const after = report(
      result(128, 'chunked', 5),
      result(256, 'chunked', 10.4),
      result(512, 'chunked', 20),
      result(2048, 'chunked', 1),
    )
    const { cases, onlyBefore, onlyAfter, meanSpeedup } = compareRuns(before, after)
    expect(cases.map(({ verdict }) => verdict)).toEqual(['faster', 'same', 'slower'])
    expect(onlyBefore).toEqual(['chunked n=1024 H=8 D=64 full workers=2'])
    expect(onlyAfter).toEqual(['chunked n=2048 H=8 D=64 full workers=2'])
    expect(meanSpeedup).toBeCloseTo(Math.cbrt((10 / 5) * (10 / 10.4) * (10 / 20)), 10)
  })
})

describe('compareRuns with few calls', () => {
  it.each([
    [1, 1, 'too few calls'],
    [7, 100, 'too few calls'],
    [100, 7, 'too few calls'],
    [8, 8, 'slower'],
  ])('of %i and %i calls says %s', (before, after, verdict) => {
    const { cases } = compareRuns(report(result(512, 'chunked', 10, before)), report(result(512, 'chunked', 20, after)))
    expect(cases.map((found) => found.verdict)).toEqual([verdict])
  })
})

describe('heddle bench compare', () => {
  let folder = ''
  beforeAll(async () => {
    folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-compare-'))
    await writeFile(path.join(folder, 'a.json'), JSON.stringify(report(result(512, 'chunked', 10))))
    await writeFile(path.join(folder, 'b.json'), JSON.stringify(report(result(512, 'chunked', 12))))
    await writeFile(path.join(folder, 'other.json'), '{"format":"heddle-bench/1","results":[{}]}')
  })
  afterAll(() => rm(folder, { recursive: true }))

  it('prints the speed-ups', async () => {
    const { status, out } = await heddle(['bench', 'compare', 'a.json', 'b.json'], { cwd: folder })
    expect(out).toContain('0.83 ×')
    expect(out).toContain('slower')
    expect(status).toBe(0)
  })

  it('ends with status 1 where a case became slower than allowed', async () => {
    expect((await heddle(['bench', 'compare', 'a.json', 'b.json', '--fail-above', '15'], { cwd: folder })).status).toBe(
      1,
    )
    expect((await heddle(['bench', 'compare', 'a.json', 'b.json', '--fail-above', '25'], { cwd: folder })).status).toBe(
      0,
    )
  })

  it('does not fail on a difference without a verdict', async () => {
    await writeFile(path.join(folder, 'few.json'), JSON.stringify(report(result(512, 'chunked', 20, 3))))
    const wide = { ...result(512, 'chunked', 13), lowMs: 10, highMs: 16 }
    await writeFile(path.join(folder, 'wide.json'), JSON.stringify(report(wide)))
    const few = await heddle(['bench', 'compare', 'a.json', 'few.json', '--fail-above', '15'], { cwd: folder })
    expect(few.out).toContain('too few calls: a verdict needs 8 or more in each run')
    expect(few.status).toBe(0)
    const same = await heddle(['bench', 'compare', 'a.json', 'wide.json', '--fail-above', '15'], { cwd: folder })
    expect(same.out).not.toContain('too few')
    expect(same.status).toBe(0)
  })

  it('refuses a file of another kind', async () => {
    const { status, err } = await heddle(['bench', 'compare', 'a.json', 'other.json'], { cwd: folder })
    expect(status).toBe(2)
    expect(err).toContain('heddle-bench/1')
  })
})
