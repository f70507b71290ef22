import { mkdtemp, readdir, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import type { BenchReport } from '../../src/cli/bench/bench-report.ts'
import { FAST_GPU, testGpu } from '../webgpu/support/software-gpu.ts'
import { heddle } from './heddle.ts'

let folder = ''
beforeAll(async () => {
  folder = await mkdtemp(path.join(os.tmpdir(), 'heddle-commands-'))
})
afterAll(() => rm(folder, { recursive: true }))

describe('heddle bench', () => {
  it('times both modes in the cases that were asked for, after a check of each answer', async () => {
    const args = [
      'bench',
      '--tokens',
      '96,200',
      '--heads',
      '2',
      '--head-size',
      '16',
      '--workers',
      '0,1',
      '--case-seconds',
      '0.1',
      '--json',
    ]
    const { status, out, err } = await heddle(args, { cwd: folder })
    expect(status).toBe(0)
    expect(err).toContain('standard')
    const { results, skipped, machine } = JSON.parse(out) as BenchReport
    expect(skipped).toEqual([])
    expect(machine.versions.node).toBe(process.versions.node)
    const cases = results.map(({ tokens, workers, causal, mode }) => `${tokens} ${workers} ${causal} ${mode}`)
    expect(cases).toHaveLength(2 * 2 * 2 * 2)
    expect(new Set(cases).size).toBe(cases.length)
    for (const {
      worstError,
      medianMs,
      lowMs,
      highMs,
      samples,
      gigaflopsPerSecond,
      tokens,
      heads,
      headSize,
      causal,
    } of results) {
      expect(worstError).toBeLessThan(2e-5)
      expect(samples).toBeGreaterThanOrEqual(3)
      expect(lowMs).toBeLessThanOrEqual(medianMs)
      expect(highMs).toBeGreaterThanOrEqual(medianMs)
      const flops = 4 * heads * headSize * (causal ? (tokens * (tokens + 1)) / 2 : tokens ** 2)
      expect(gigaflopsPerSecond).toBeCloseTo(flops / medianMs / 1e6, 6)
    }
    // Two sizes make no curve.
    expect(await readdir(path.join(folder, 'heddle-report'))).toEqual(['bench.html', 'bench.json'])
  })

  it('leaves out what takes too long, and says so', async () => {
    const args = [
      'bench',
      '--tokens',
      '64,8192',
      '--heads',
      '1',
      '--workers',
      '0',
      '--case-seconds',
      '0.01',
      '--longest-call',
      '0.0001',
      '--json',
    ]
    const { status, out } = await heddle(args, { cwd: folder })
    expect(status).toBe(0)
    const { results, skipped } = JSON.parse(out) as BenchReport
    expect(results.every(({ tokens }) => tokens === 64)).toBe(true)
    expect(skipped).toHaveLength(4)
    for (const { reason, tokens } of skipped) {
      expect(tokens).toBe(8192)
      expect(reason).toContain('is expected to take')
    }
  })
})

describe('heddle doctor', () => {
  it(
    'finds what the host can do, that results are right, and which kernel a GPU lane runs',
    { timeout: 90_000 },
    async () => {
      await testGpu() // names SwiftShader's driver to this process and to those that it starts
      vi.stubEnv('NODE_OPTIONS', `--import=${FAST_GPU}`)
      const { status, out, err } = await heddle(['doctor', '--json']).finally(() => vi.unstubAllEnvs())
      expect(status).toBe(0)
      const { capabilities, probes, auto, gpu } = JSON.parse(out) as {
        capabilities: { simd: boolean }
        probes: { outcome: string }[]
        auto: { lanes: string[]; reason: string }
        gpu?: { choice: { tile: string; reason: string; times: { milliseconds: number }[] } }
      }
      expect(capabilities.simd).toBe(true)
      expect(probes.slice(0, 4).map(({ outcome }) => outcome)).toEqual(['passed', 'passed', 'passed', 'passed'])
      expect([...new Set(auto.lanes)]).toEqual(['wasm'])
      expect(auto.reason).toContain('in Node a GPU lane is made only for backend "webgpu"')
      expect(err).toContain(`${auto.lanes.length} wasm lane`)
      // the GPU
      expect(['passed', 'unavailable']).toContain(probes[4]?.outcome)
      expect(err).toContain('float64 reference')
      expect(gpu !== undefined).toBe(probes[4]?.outcome === 'passed')
      if (gpu === undefined) return
      // Unmeasured: to compile four variants for a software adapter would take most of the command's time.
      expect(gpu.choice).toEqual({ tile: 'base', reason: 'the adapter computes in software', times: [] })
      expect(err).toContain('a lane runs base: the adapter computes in software')
      expect(err).toMatch(/buffers of up to .*invocations\n {2}features: /)
    },
  )
})
